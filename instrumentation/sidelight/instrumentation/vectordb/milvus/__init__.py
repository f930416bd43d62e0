"""Milvus: observes pymilvus."""

from sidelight.instrumentation.vectordb.milvus.client import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
