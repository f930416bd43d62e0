"""Sidelight's own metrics that queries read: names, units and meanings are the conventions'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidelight import conventions as names
from sidelight.conventions import METRICS, prometheus_name
from sidelight.dashboards.catalog.metric import CatalogMetric, Dimension, MetricName, MetricSource


def label(attribute: str) -> str:
    """The Prometheus label of an OpenTelemetry attribute."""
    return attribute.replace(".", "_")


MODEL: Final = label(names.REQUEST_MODEL)
ENGINE_INDEX: Final = label(names.ENGINE_INDEX)
ERROR_TYPE: Final = label(names.ERROR_TYPE)
DB_SYSTEM: Final = label(names.DB_SYSTEM)
DB_COLLECTION: Final = label(names.DB_COLLECTION)
DB_OPERATION: Final = label(names.DB_OPERATION)
SERVICE: Final = label(names.SERVICE_NAME)
DELAY_CAUSE: Final = label(names.DELAY_CAUSE)
TOKEN_TYPE: Final = label(names.TOKEN_TYPE)
LORA: Final = label(names.LORA_NAME)
CURRENCY: Final = label(names.CURRENCY)
OUTCOME: Final = label(names.OUTCOME)
SCORE_SCALE: Final = label(names.SCORE_SCALE)
VECTOR_FIELD: Final = label(names.VECTOR_FIELD)

# `job` and `instance` of what arrives by OTLP are the service's name and instance, not those
# of a scrape: filtering by a scrape's job would find nothing. So these have neither dimension.
# Histograms that the collector makes of the plugin's spans, or of those of vLLM's own tracing.
REQUEST_SPANS: Final = MetricSource("server spans", {"model": MODEL})
MODEL_CALLS: Final = MetricSource("spans of model calls", {"model": MODEL})
PLUGIN: Final = MetricSource("vLLM plugin", {"model": MODEL, "engine": ENGINE_INDEX})
_PLACE_OF_SEARCH: Final[Mapping[Dimension, str]] = {
    "database": DB_SYSTEM,
    "collection": DB_COLLECTION,
}
CLIENT: Final = MetricSource("vector-database clients", _PLACE_OF_SEARCH)
SEARCH_SPANS: Final = MetricSource("search spans", _PLACE_OF_SEARCH)
INSTRUMENTATION: Final = MetricSource("instrumentation", {})
# Their job and instance are those of the vLLM server, from the collector's configuration.
KV_EVENTS: Final = MetricSource(
    "KV events", {"job": "job", "instance": "instance", "engine": "engine"}
)
# A collector is its scrape's instance.
COLLECTOR: Final = MetricSource("collector", {"collector": "instance"})

# Its replicas serve one certificate; a variable of collectors would hide it.
INJECTOR: Final = MetricSource("injector", {})


def _own(
    metric: str, source: MetricSource, *labels: str, begins_with_event: bool = False
) -> CatalogMetric:
    definition = METRICS[metric]
    return CatalogMetric(
        source,
        definition.instrument,
        definition.unit,
        definition.meaning,
        labels,
        (MetricName(prometheus_name(metric)),),
        definition.buckets if definition.instrument == "histogram" else (),
        begins_with_event,
    )


def _events(metric: str, source: MetricSource, *labels: str) -> CatalogMetric:
    """A metric that is not there before something has happened."""
    return _own(metric, source, *labels, begins_with_event=True)


_SERVED: Final = (label(names.SERVICE_NAME), label(names.OPERATION), MODEL)
_STEP: Final = (MODEL, ENGINE_INDEX)
_PLACE: Final = (DB_SYSTEM, label(names.DB_NAMESPACE), DB_COLLECTION)
_CALL: Final = (
    *_PLACE,
    DB_OPERATION,
    label(names.SERVER_ADDRESS),
    label(names.SERVER_PORT),
    label(names.VECTOR_METRIC_TYPE),
    label(names.VECTOR_RANKER),
)
_SCORED: Final = (
    *_PLACE,
    SCORE_SCALE,
    VECTOR_FIELD,
    label(names.VECTOR_SCORE_DIRECTION),
)

REQUEST_DURATION: Final = _own(names.SERVER_REQUEST_DURATION, REQUEST_SPANS, *_SERVED, ERROR_TYPE)
SERVER_TTFT: Final = _own(names.SERVER_TTFT, REQUEST_SPANS, *_SERVED)
SERVER_TPOT: Final = _own(names.SERVER_TPOT, REQUEST_SPANS, *_SERVED)
REQUEST_DELAY: Final = _own(names.REQUEST_DELAY, REQUEST_SPANS, SERVICE, MODEL, DELAY_CAUSE)
TOKENS: Final = _own(
    names.TOKENS, MODEL_CALLS, SERVICE, MODEL, label(names.RESPONSE_MODEL), TOKEN_TYPE
)
COST: Final = _events(
    names.COST, MODEL_CALLS, SERVICE, MODEL, label(names.RESPONSE_MODEL), CURRENCY
)
CLIENT_ABORTS: Final = _events(names.CLIENT_ABORTS, PLUGIN)
SERVER_ACTIVE: Final = _own(names.SERVER_ACTIVE, PLUGIN)
ENGINE_STEPS: Final = _own(names.ENGINE_STEPS, PLUGIN, *_STEP)
SERVER_STEP_AGE: Final = _own(names.SERVER_STEP_AGE, PLUGIN)
STEP_AGE: Final = _own(names.ENGINE_STEP_AGE, PLUGIN, *_STEP)
BATCH_TOKENS_LIMIT: Final = _own(names.ENGINE_BATCH_TOKENS_LIMIT, PLUGIN, *_STEP)
STEP_DURATION: Final = _own(names.ENGINE_STEP_DURATION, PLUGIN, *_STEP)
BATCH_SIZE: Final = _own(names.ENGINE_BATCH_SIZE, PLUGIN, *_STEP)
STEP_WAITING: Final = _own(names.ENGINE_WAITING, PLUGIN, *_STEP)
KV_USAGE_TIME: Final = _own(names.ENGINE_KV_USAGE_TIME, PLUGIN, *_STEP, "le")
KV_EVICTION_AGE: Final = _own(names.ENGINE_EVICTION_AGE, PLUGIN, *_STEP)
DRAFT_TOKENS: Final = _own(names.ENGINE_DRAFT_TOKENS, PLUGIN, *_STEP)
ACCEPTED_TOKENS: Final = _own(names.ENGINE_ACCEPTED_TOKENS, PLUGIN, *_STEP)
LORA_REQUESTS: Final = _events(names.ENGINE_LORA_REQUESTS, PLUGIN, *_STEP, LORA, "state")

DB_DURATION: Final = _own(
    names.DB_CLIENT_DURATION, CLIENT, *_CALL, ERROR_TYPE, label(names.DB_STATUS_CODE)
)
TOP_SCORE: Final = _own(names.VECTOR_TOP_SCORE, CLIENT, *_CALL, VECTOR_FIELD)
EMPTY_SEARCHES: Final = _events(names.VECTOR_EMPTY_SEARCHES, CLIENT, *_CALL)

RETRIEVAL_SEARCHES: Final = _own(names.RETRIEVAL_SEARCHES, SEARCH_SPANS, *_PLACE, OUTCOME)
RETRIEVAL_DURATION: Final = _own(names.RETRIEVAL_DURATION, SEARCH_SPANS, *_PLACE)
RETRIEVAL_TOP_SCORE: Final = _own(names.RETRIEVAL_TOP_SCORE, SEARCH_SPANS, *_SCORED)
RETRIEVAL_DRIFT: Final = _events(names.RETRIEVAL_DRIFT, SEARCH_SPANS, *_SCORED)
RETRIEVAL_POOR: Final = _events(names.RETRIEVAL_POOR, SEARCH_SPANS, *_SCORED)

_CACHE: Final = ("engine",)
KV_STORED: Final = _own(names.KV_STORED, KV_EVENTS, *_CACHE, "kind")
KV_EVICTED: Final = _own(names.KV_EVICTED, KV_EVENTS, *_CACHE)
KV_EXTRA_HITS: Final = _own(names.KV_EXTRA_HITS, KV_EVENTS, *_CACHE, "cache_size")
KV_EXTRA_HITS_COMPLETE: Final = _own(names.KV_EXTRA_HITS_COMPLETE, KV_EVENTS, *_CACHE, "cache_size")
KV_BLOCK_LIFETIME: Final = _own(names.KV_BLOCK_LIFETIME, KV_EVENTS, *_CACHE)
KV_BLOCK_ABSENCE: Final = _own(names.KV_BLOCK_ABSENCE, KV_EVENTS, *_CACHE)
KV_CAPACITY: Final = _own(names.KV_CAPACITY, KV_EVENTS, *_CACHE)
KV_MESSAGES: Final = _own(names.KV_MESSAGES, KV_EVENTS, *_CACHE, "outcome")

INSTRUMENTATION_DROPPED: Final = _events(names.INSTRUMENTATION_DROPPED, INSTRUMENTATION, "queue")
INSTRUMENTATION_FAULTS: Final = _events(
    names.INSTRUMENTATION_FAULTS, INSTRUMENTATION, "place", DB_SYSTEM
)

RECEIVED: Final = _own(names.COLLECTOR_RECEIVED, COLLECTOR, "signal")
REFUSED: Final = _events(names.COLLECTOR_REFUSED, COLLECTOR, "signal", "reason")
DELIVERED: Final = _own(names.COLLECTOR_DELIVERED, COLLECTOR, "destination")
DROPPED: Final = _events(names.COLLECTOR_DROPPED, COLLECTOR, "destination", "reason")
RETRIES: Final = _events(names.COLLECTOR_RETRIES, COLLECTOR, "destination")
LAG: Final = _own(names.COLLECTOR_LAG, COLLECTOR, "destination")
LOG_BYTES: Final = _own(names.COLLECTOR_LOG_BYTES, COLLECTOR)
TROUBLE: Final = _events(names.COLLECTOR_TROUBLE, COLLECTOR, "destination", "cause")
WITHHELD: Final = _events(names.COLLECTOR_WITHHELD, COLLECTOR, "destination", "reason")
UNAUTHORIZED: Final = _events(names.COLLECTOR_UNAUTHORIZED, COLLECTOR, "protocol", "reason")
REDACTED: Final = _events(names.COLLECTOR_REDACTED, COLLECTOR, "rule")
LOG_PENDING: Final = _own(names.COLLECTOR_PENDING, COLLECTOR)
RECEIVE_BUFFERED: Final = _own(names.COLLECTOR_BUFFERED, COLLECTOR)
CONNECTIONS: Final = _own(names.COLLECTOR_CONNECTIONS, COLLECTOR)
LOG_OK: Final = _own(names.COLLECTOR_LOG_OK, COLLECTOR)
RELOAD_OK: Final = _own(names.COLLECTOR_RELOAD_OK, COLLECTOR)
WORKER_RESTARTS: Final = _events(names.COLLECTOR_WORKER_RESTARTS, COLLECTOR)
SCRAPES: Final = _own(names.COLLECTOR_SCRAPES, COLLECTOR, "target", "outcome")

INJECTOR_PODS: Final = _events(names.INJECTOR_PODS, INJECTOR, OUTCOME, "reason")
INJECTOR_ERRORS: Final = _events(names.INJECTOR_ERRORS, INJECTOR, "kind")
INJECTOR_HANDSHAKES: Final = _events(names.INJECTOR_HANDSHAKES_FAILED, INJECTOR, "reason")
INJECTOR_REVIEWS: Final = _own(names.INJECTOR_REVIEW_DURATION, INJECTOR)
CERTIFICATE_EXPIRY: Final = _own(names.INJECTOR_CERTIFICATE_EXPIRY, INJECTOR)

SIDELIGHT_METRICS: Final[tuple[CatalogMetric, ...]] = (
    REQUEST_DURATION,
    SERVER_TTFT,
    SERVER_TPOT,
    REQUEST_DELAY,
    TOKENS,
    COST,
    CLIENT_ABORTS,
    SERVER_ACTIVE,
    SERVER_STEP_AGE,
    ENGINE_STEPS,
    STEP_AGE,
    BATCH_TOKENS_LIMIT,
    STEP_DURATION,
    BATCH_SIZE,
    STEP_WAITING,
    KV_USAGE_TIME,
    KV_EVICTION_AGE,
    DRAFT_TOKENS,
    ACCEPTED_TOKENS,
    LORA_REQUESTS,
    DB_DURATION,
    TOP_SCORE,
    EMPTY_SEARCHES,
    RETRIEVAL_SEARCHES,
    RETRIEVAL_DURATION,
    RETRIEVAL_TOP_SCORE,
    RETRIEVAL_DRIFT,
    RETRIEVAL_POOR,
    KV_STORED,
    KV_EVICTED,
    KV_EXTRA_HITS,
    KV_EXTRA_HITS_COMPLETE,
    KV_BLOCK_LIFETIME,
    KV_BLOCK_ABSENCE,
    KV_CAPACITY,
    KV_MESSAGES,
    INSTRUMENTATION_DROPPED,
    INSTRUMENTATION_FAULTS,
    RECEIVED,
    REFUSED,
    DELIVERED,
    DROPPED,
    RETRIES,
    LAG,
    LOG_BYTES,
    TROUBLE,
    WITHHELD,
    UNAUTHORIZED,
    REDACTED,
    LOG_PENDING,
    RECEIVE_BUFFERED,
    CONNECTIONS,
    LOG_OK,
    RELOAD_OK,
    WORKER_RESTARTS,
    SCRAPES,
    INJECTOR_PODS,
    INJECTOR_ERRORS,
    INJECTOR_HANDSHAKES,
    INJECTOR_REVIEWS,
    CERTIFICATE_EXPIRY,
)
