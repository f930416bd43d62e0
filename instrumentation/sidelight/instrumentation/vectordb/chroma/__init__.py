"""Chroma: observes chromadb."""

from sidelight.instrumentation.vectordb.chroma.client import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]
