"""Sidelight's own metrics as the collector's /metrics shows them, moving with every scrape."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from sidelight import conventions as names
from sidelight.collector.metrics.kv_cache.changes import CACHE_SIZES, STORED_KINDS
from sidelight.conventions import METRICS, Metric, prometheus_name

MODEL = "served"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"

_SERVED = {
    "service_name": "vllm",
    "gen_ai_operation_name": "chat",
    "gen_ai_request_model": MODEL,
}
_STEP = {"gen_ai_request_model": MODEL, "sidelight_engine_index": "0"}
_PLACE = {
    "db_system_name": "milvus",
    "db_namespace": "default",
    "db_collection_name": "documents",
}
_SEARCH = _PLACE | {
    "db_operation_name": "search",
    "server_address": "milvus",
    "server_port": "19530",
    "db_vector_metric_type": "COSINE",
    "db_vector_ranker": "",
}
_SCORED = _PLACE | {
    "scale": "COSINE",
    "db_vector_field": "",
    "db_vector_score_direction": "higher_is_better",
}
_CALLED = {
    "service_name": "rag",
    "gen_ai_request_model": MODEL,
    "gen_ai_response_model": MODEL,
}
_CACHE = {"engine": "0"}
_CACHE_SIZES = tuple(_CACHE | {"cache_size": f"{size:g}"} for size in CACHE_SIZES)
_DESTINATION = {"destination": "phoenix"}

# The label sets of each metric; metrics that are not named here have no labels.
LABELS: dict[str, tuple[dict[str, str], ...]] = {
    names.SERVER_REQUEST_DURATION: (
        _SERVED | {"error_type": ""},
        _SERVED | {"error_type": "500"},
        _SERVED | {"error_type": "404"},
    ),
    names.SERVER_TTFT: (_SERVED,),
    names.SERVER_TPOT: (_SERVED,),
    names.DB_CLIENT_DURATION: (
        _SEARCH | {"error_type": "", "db_response_status_code": ""},
        _SEARCH | {"error_type": "MilvusException", "db_response_status_code": "1100"},
    ),
    names.DB_CLIENT_RETURNED_ROWS: (_SEARCH,),
    names.VECTOR_EMPTY_SEARCHES: (_SEARCH,),
    names.REQUEST_DELAY: tuple(
        {"service_name": "vllm", "gen_ai_request_model": MODEL, "cause": cause}
        for cause in ("frontend", "queue", "prefill", "decode")
    ),
    names.TOKENS: tuple(_CALLED | {"gen_ai_token_type": kind} for kind in ("input", "output")),
    names.COST: (_CALLED | {"currency": "USD"},),
    names.VECTOR_TOP_SCORE: (_SEARCH | {"db_vector_field": ""},),
    names.RETRIEVAL_SEARCHES: tuple(
        _PLACE | {"outcome": outcome} for outcome in ("found", "empty", "error")
    ),
    names.RETRIEVAL_DURATION: (_PLACE,),
    names.RETRIEVAL_TOP_SCORE: (_SCORED,),
    names.RETRIEVAL_SCORE_GAP: (_SCORED,),
    names.RETRIEVAL_DRIFT: (_SCORED,),
    names.RETRIEVAL_POOR: (_SCORED,),
    names.ENGINE_STEPS: (_STEP,),
    names.ENGINE_STEP_AGE: (_STEP,),
    names.ENGINE_BATCH_TOKENS_LIMIT: (_STEP,),
    names.ENGINE_BATCH_SIZE_LIMIT: (_STEP,),
    names.ENGINE_FINISHED: (_STEP | {"reason": "stop"}, _STEP | {"reason": "abort"}),
    names.ENGINE_STEP_DURATION: (_STEP,),
    names.ENGINE_BATCH_SIZE: (_STEP,),
    names.ENGINE_BATCH_TOKENS: (_STEP,),
    names.ENGINE_WAITING: (_STEP,),
    names.ENGINE_KV_USAGE_TIME: tuple(
        _STEP | {"le": str(bound)} for bound in METRICS[names.ENGINE_KV_USAGE_TIME].buckets
    ),
    names.ENGINE_EVICTION_AGE: (_STEP,),
    names.ENGINE_DRAFT_TOKENS: (_STEP,),
    names.ENGINE_ACCEPTED_TOKENS: (_STEP,),
    names.ENGINE_LORA_REQUESTS: tuple(
        _STEP | {"sidelight_lora_name": "poet", "state": state} for state in ("running", "waiting")
    ),
    names.KV_STORED: tuple(_CACHE | {"kind": kind} for kind in STORED_KINDS),
    names.KV_EVICTED: (_CACHE,),
    names.KV_EXTRA_HITS: _CACHE_SIZES,
    names.KV_EXTRA_HITS_COMPLETE: _CACHE_SIZES,
    names.KV_BLOCK_LIFETIME: (_CACHE,),
    names.KV_BLOCK_ABSENCE: (_CACHE,),
    names.KV_CAPACITY: (_CACHE,),
    names.KV_SAMPLED: (_CACHE,),
    names.KV_MESSAGES: tuple(_CACHE | {"outcome": outcome} for outcome in ("received", "lost")),
    names.KV_RESETS: (_CACHE | {"reason": "gap"},),
    names.KV_CONNECTIONS: (_CACHE,),
    names.INSTRUMENTATION_FAULTS: ({"place": "metrics", "db_system_name": ""},),
    names.INSTRUMENTATION_DROPPED: ({"queue": "requests"},),
    names.COLLECTOR_RECEIVED: ({"signal": "traces"}, {"signal": "metrics"}),
    names.COLLECTOR_REFUSED: ({"signal": "traces", "reason": "invalid_id"},),
    names.COLLECTOR_DELIVERED: (_DESTINATION,),
    names.COLLECTOR_DROPPED: (_DESTINATION | {"reason": "dead_lettered"},),
    names.COLLECTOR_RETRIES: (_DESTINATION,),
    names.COLLECTOR_LAG: (_DESTINATION,),
    names.COLLECTOR_TROUBLE: (_DESTINATION | {"cause": "unreachable"},),
    names.COLLECTOR_WITHHELD: (_DESTINATION | {"reason": "filter"},),
    names.COLLECTOR_UNAUTHORIZED: ({"protocol": "http", "reason": "no_token"},),
    names.COLLECTOR_REDACTED: ({"rule": "email"},),
    names.COLLECTOR_SCRAPES: ({"target": "vllm", "outcome": "ok"},),
    names.INJECTOR_PODS: ({"outcome": "injected", "reason": "injected"},),
    names.INJECTOR_ERRORS: ({"kind": "internal"},),
    names.INJECTOR_HANDSHAKES_FAILED: ({"reason": "certificate"},),
    names.TARGET_UP: ({"job": "vllm", "instance": "vllm:8000"},),
}

# Which metric of the conventions a name in an exposition is, without `_total` and the like.
PROMETHEUS_NAMES = {prometheus_name(metric): metric for metric in METRICS}

# Outcomes of searches that a flawless service has not.
_BAD = ("empty", "error")

# Counters that have no series before the first event.
_EVENTS = (
    names.COLLECTOR_DROPPED,
    names.COLLECTOR_REFUSED,
    names.COLLECTOR_RETRIES,
    names.CLIENT_ABORTS,
    names.VECTOR_EMPTY_SEARCHES,
    names.INSTRUMENTATION_FAULTS,
    names.INSTRUMENTATION_DROPPED,
)


class SidelightExposition:
    """Every metric of `sidelight.conventions`; each page served has more in it than the last.

    With `flawless` nothing has ever gone wrong: no error, drop, refusal, retry or empty search.
    """

    def __init__(self, *, flawless: bool = False) -> None:
        self._registry = CollectorRegistry()
        self._flawless = flawless
        self._instruments = [
            self._instrument(metric)
            for metric in METRICS.values()
            if not (flawless and metric.name in _EVENTS)
        ]

    def _instrument(self, metric: Metric) -> tuple[Metric, Counter | Gauge | Histogram]:
        labels = tuple(LABELS.get(metric.name, ({},))[0])
        name = prometheus_name(metric.name)
        match metric.instrument:
            case "histogram":
                return metric, Histogram(
                    name, metric.meaning, labels, registry=self._registry, buckets=metric.buckets
                )
            case "gauge":
                return metric, Gauge(name, metric.meaning, labels, registry=self._registry)
            case "counter":
                return metric, Counter(name, metric.meaning, labels, registry=self._registry)

    def page(self, accept: str) -> tuple[str, bytes]:
        """The next page, in the format a scraper asks for."""
        for metric, instrument in self._instruments:
            for labels in LABELS.get(metric.name, ({},)):
                if self._flawless and (labels.get("error_type") or labels.get("outcome") in _BAD):
                    continue
                self._move(metric, instrument.labels(**labels) if labels else instrument, labels)
        encoder, content_type = choose_encoder(accept)
        return content_type, encoder(self._registry)

    @staticmethod
    def _move(metric: Metric, child: Counter | Gauge | Histogram, labels: dict[str, str]) -> None:
        if isinstance(child, Histogram):
            for bound in metric.buckets:
                child.observe(bound, {"trace_id": TRACE_ID})
        elif isinstance(child, Gauge):
            child.set(0.5)
        elif "le" in labels:
            # Half of each second at the use of its own bound: later bounds hold more of it.
            child.inc(float(labels["le"]))
        else:
            child.inc(3, {"trace_id": TRACE_ID})
