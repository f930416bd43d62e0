"""Milvus: observes pymilvus."""

from sidelight.instrumentation.vectordb.milvus.client import LIBRARY, instrument, uninstrument

__all__ = ["LIBRARY", "instrument", "uninstrument"]
