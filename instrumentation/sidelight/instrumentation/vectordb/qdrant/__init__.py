"""Qdrant: observes qdrant-client."""

from sidelight.instrumentation.vectordb.qdrant.client import LIBRARY, instrument, uninstrument

__all__ = ["LIBRARY", "instrument", "uninstrument"]
