"""Asks a Prometheus every query that is published, and says why one returns nothing."""
