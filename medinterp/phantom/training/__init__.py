"""How phantom is made: a pool of films, the tower on dense labels, then the language model on words."""
