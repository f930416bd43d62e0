"""Qdrant: observes qdrant-client."""

from sidelight.instrumentation.vectordb.qdrant.client import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
