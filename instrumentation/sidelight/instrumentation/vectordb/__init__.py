"""Vector databases: one span per logical operation, with scores, for Milvus."""

from sidelight.instrumentation.vectordb.query import query_text

__all__ = ["query_text"]
