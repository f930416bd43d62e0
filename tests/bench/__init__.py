"""Benchmarks: what Sidelight costs, beside what its peers cost, in one run."""
