"""Spans and metrics as OTLP, and on their way to the collector."""
