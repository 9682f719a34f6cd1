"""One relevancy method a file, each with a METHOD."""
