"""What the tables of an audit say across films: numpy and pyarrow, no ray."""
