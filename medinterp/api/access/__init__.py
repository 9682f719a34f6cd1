"""Who may do what: keys, bearer tokens, sessions, whose report it is, how often, and who read what."""
