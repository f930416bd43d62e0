"""A FastAPI service with OpenTelemetry's SDK: its spans and metrics go through Sidelight.

    pip install 'fastapi>=0.165' uvicorn opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    sidelight up &
    uvicorn app:app --port 8080
    curl '127.0.0.1:8080/answer?question=why'

Nothing of Sidelight is imported: it takes what any OpenTelemetry SDK sends. FastAPI makes the
span of each request itself, once the global providers are set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

resource = Resource.create({"service.name": "answers"})
tracers = TracerProvider(resource=resource)
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(tracers)
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
metrics.set_meter_provider(meters)

tracer = trace.get_tracer("answers")
asked = metrics.get_meter("answers").create_counter("questions", description="Questions asked.")


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    # What waits in the batch processor goes out before the process ends.
    tracers.shutdown()
    meters.shutdown()


app = FastAPI(lifespan=_lifespan)


@app.get("/answer")
async def answer(question: str) -> dict[str, str]:
    """The answer to everything."""
    asked.add(1)
    with tracer.start_as_current_span("think") as span:
        span.set_attribute("openinference.span.kind", "CHAIN")
        span.set_attribute("input.value", question)
        return {"answer": "42"}
