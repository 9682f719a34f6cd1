"""The benchmark with known truth: certified tokens of synthetic films, every method, several demo models."""
