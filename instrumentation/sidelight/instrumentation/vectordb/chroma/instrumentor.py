"""Lets `opentelemetry-instrument` observe chromadb."""

from __future__ import annotations

from sidelight.instrumentation.vectordb.chroma.client import LIBRARY
from sidelight.instrumentation.vectordb.core.instrumentor import ClientInstrumentor


class ChromaInstrumentor(ClientInstrumentor):
    """Observes chromadb; takes `tracer_provider`, `meter_provider` and `settings`."""

    library = LIBRARY
