"""Lets `opentelemetry-instrument` observe qdrant-client."""

from __future__ import annotations

from sidelight.instrumentation.vectordb.core.instrumentor import ClientInstrumentor
from sidelight.instrumentation.vectordb.qdrant.client import LIBRARY


class QdrantInstrumentor(ClientInstrumentor):
    """Observes qdrant-client; takes `tracer_provider`, `meter_provider` and `settings`."""

    library = LIBRARY
