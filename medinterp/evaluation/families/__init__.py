"""Tiny random checkpoints of every model family, and what the self-test says of them."""
