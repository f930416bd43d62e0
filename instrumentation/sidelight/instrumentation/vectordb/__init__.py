"""Vector databases: one span per logical operation, with scores, for Milvus, Qdrant and Chroma."""

from sidelight.instrumentation.vectordb.core.query import query_text

__all__ = ["query_text"]
