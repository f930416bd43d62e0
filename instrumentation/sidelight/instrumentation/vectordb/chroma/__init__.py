"""Chroma: observes chromadb."""

from sidelight.instrumentation.vectordb.chroma.client import LIBRARY, instrument, uninstrument

__all__ = ["LIBRARY", "instrument", "uninstrument"]
