"""`python -m tests.faults`: the service under load and under blows, as the tables of the README."""
