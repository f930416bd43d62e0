"""One workload over every vector database and client mode, with a record of what was called."""
