"""Vector databases: one span per logical operation, with the scores of a search."""

from sidelight.instrumentation.vectordb.core.query import query_text

__all__ = ["query_text"]
