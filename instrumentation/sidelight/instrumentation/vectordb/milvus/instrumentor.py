"""Lets `opentelemetry-instrument` observe pymilvus."""

from __future__ import annotations

from sidelight.instrumentation.vectordb.core.instrumentor import ClientInstrumentor
from sidelight.instrumentation.vectordb.milvus.client import LIBRARY


class MilvusInstrumentor(ClientInstrumentor):
    """Observes pymilvus; takes `tracer_provider`, `meter_provider` and `settings`."""

    library = LIBRARY
