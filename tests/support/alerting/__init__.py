"""Cases for promtool: what alerts are tested with, as data."""
