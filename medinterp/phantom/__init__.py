"""The demo model and the synthetic chest films, whose findings' true places are known, that it reads."""
