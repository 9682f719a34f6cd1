"""Is it true? What the model reads and where its maps point, on films whose truth is known."""
