"""What is measured: every metric a query may read, its labels, and its names by version."""
