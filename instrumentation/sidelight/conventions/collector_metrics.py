"""Metrics that the collector makes from spans, and of its own health."""

from __future__ import annotations

from typing import Final

from sidelight.conventions import buckets
from sidelight.conventions.definitions import metric

# Made by the collector from spans. Clients make metrics of their own (db.vector.*,
# db.client.*) of the same searches: these names keep the two apart.
RETRIEVAL_SEARCHES: Final = metric(
    "sidelight.retrieval.searches",
    "counter",
    "{query}",
    "Queries to vector databases seen in spans, by outcome.",
)
RETRIEVAL_RECORDS: Final = metric(
    "sidelight.retrieval.records",
    "counter",
    "{record}",
    "Records that searches returned and that writes stored or deleted, seen in spans.",
)
RETRIEVAL_DURATION: Final = metric(
    "sidelight.retrieval.duration",
    "histogram",
    "s",
    "Time of searches in vector databases, seen in spans.",
    buckets.DB_SECONDS_BUCKETS,
)
RETRIEVAL_TOP_SCORE: Final = metric(
    "sidelight.retrieval.top_score",
    "histogram",
    "{score}",
    "Score of a search's best hit, seen in spans; a negative one counts as zero.",
    buckets.SCORE_BUCKETS,
)
RETRIEVAL_SCORE_GAP: Final = metric(
    "sidelight.retrieval.score_gap",
    "histogram",
    "{score}",
    "Distance between the scores of a search's best and second hit, seen in spans.",
    buckets.SCORE_BUCKETS,
)
RETRIEVAL_DRIFT: Final = metric(
    "sidelight.retrieval.score.drift",
    "gauge",
    "{psi}",
    "Population stability index of top scores against the baseline; absent while too few.",
    across="max",
)
RETRIEVAL_POOR: Final = metric(
    "sidelight.retrieval.poor_scores",
    "counter",
    "{search}",
    "Searches whose top score is worse than 95 % of the baseline's.",
)
TOKENS: Final = metric(
    "sidelight.tokens", "counter", "{token}", "Tokens of model calls, each call counted once."
)
COST: Final = metric(
    "sidelight.cost", "counter", "{currency}", "Cost of model calls, each call counted once."
)
REQUEST_DELAY: Final = metric(
    "sidelight.request.delay",
    "histogram",
    "s",
    "Where the time of a served request went, by cause; the causes add up to its duration.",
    buckets.SECONDS_BUCKETS,
)
REQUEST_PREEMPTIONS: Final = metric(
    "sidelight.request.preemptions",
    "counter",
    "{preemption}",
    "Preemptions of served requests.",
)

# The collector's own health.
COLLECTOR_RECEIVED: Final = metric(
    "sidelight.collector.received", "counter", "{item}", "Items acknowledged, by signal."
)
COLLECTOR_DUPLICATES: Final = metric(
    "sidelight.collector.duplicates",
    "counter",
    "{item}",
    "Items acknowledged again, not stored again: the same request came twice, by signal.",
)
COLLECTOR_REFUSED: Final = metric(
    "sidelight.collector.refused", "counter", "{item}", "Items refused, by signal and reason."
)
COLLECTOR_EXTENSION_FAULTS: Final = metric(
    "sidelight.collector.extension.faults",
    "counter",
    "{fault}",
    "Spans that an extension failed on and that were passed on as they were.",
)
COLLECTOR_EXTENSION_DROPPED: Final = metric(
    "sidelight.collector.extension.dropped", "counter", "{span}", "Spans an extension took out."
)
COLLECTOR_REDACTED: Final = metric(
    "sidelight.collector.redacted", "counter", "{text}", "Texts masked, by rule."
)
COLLECTOR_REQUESTS: Final = metric(
    "sidelight.collector.requests", "counter", "{request}", "Requests by protocol and outcome."
)
COLLECTOR_UNAUTHORIZED: Final = metric(
    "sidelight.collector.unauthorized",
    "counter",
    "{request}",
    "Requests refused for their credentials, by protocol and reason.",
)
COLLECTOR_HANDSHAKES_FAILED: Final = metric(
    "sidelight.collector.handshakes.failed",
    "counter",
    "{connection}",
    "Connections to a TLS port that came to nothing, by listener and reason.",
)
COLLECTOR_DELIVERED: Final = metric(
    "sidelight.collector.delivered", "counter", "{item}", "Items a destination accepted."
)
COLLECTOR_DROPPED: Final = metric(
    "sidelight.collector.dropped",
    "counter",
    "{item}",
    "Acknowledged items given up, by destination and reason.",
)
COLLECTOR_WITHHELD: Final = metric(
    "sidelight.collector.withheld",
    "counter",
    "{item}",
    "Items a destination did not get because its configuration says so, by reason.",
)
COLLECTOR_SAMPLED: Final = metric(
    "sidelight.collector.traces.sampled",
    "counter",
    "{trace}",
    "Traces decided on by tail sampling, by destination, decision (kept or dropped) and reason.",
)
COLLECTOR_RETRIES: Final = metric(
    "sidelight.collector.retries", "counter", "{request}", "Sends that failed and will be repeated."
)
COLLECTOR_LAG: Final = metric(
    "sidelight.collector.lag",
    "gauge",
    "s",
    "Age of the oldest item a destination has yet to get.",
    across="max",
)
COLLECTOR_LOG_BYTES: Final = metric(
    "sidelight.collector.log.size", "gauge", "By", "Bytes of segments on disk."
)
COLLECTOR_PENDING: Final = metric(
    "sidelight.collector.log.pending", "gauge", "By", "Bytes received that wait for the disk."
)
COLLECTOR_BUFFERED: Final = metric(
    "sidelight.collector.receive.buffered",
    "gauge",
    "By",
    "Memory of the bodies that are under way over HTTP.",
)
COLLECTOR_CONNECTIONS: Final = metric(
    "sidelight.collector.connections", "gauge", "{connection}", "Open connections over HTTP."
)
COLLECTOR_RELOAD_OK: Final = metric(
    "sidelight.collector.config.reload.ok",
    "gauge",
    "",
    "1 if the last reload of the configuration succeeded or there was none, else 0.",
    across="min",
)
COLLECTOR_CONFIG_LOADED: Final = metric(
    "sidelight.collector.config.loaded",
    "gauge",
    "s",
    "When the running configuration was loaded, in seconds since the epoch.",
    across="min",
)
COLLECTOR_WORKERS: Final = metric(
    "sidelight.collector.workers", "gauge", "{worker}", "Workers that serve."
)
COLLECTOR_WORKER_RESTARTS: Final = metric(
    "sidelight.collector.worker.restarts", "counter", "{restart}", "Workers that were begun anew."
)
COLLECTOR_SCRAPES: Final = metric(
    "sidelight.collector.scrapes", "counter", "{scrape}", "Scrapes by target and outcome."
)
COLLECTOR_METRIC_SERIES: Final = metric(
    "sidelight.collector.metrics.series", "gauge", "{series}", "Series received by OTLP and shown."
)
COLLECTOR_METRIC_POINTS_DROPPED: Final = metric(
    "sidelight.collector.metrics.points.dropped",
    "counter",
    "{point}",
    "Points received by OTLP that /metrics cannot show, by reason.",
)
# Prometheus's own name for it, so that rules on `up` also see what is scraped through Sidelight.
TARGET_UP: Final = metric(
    "up", "gauge", "", "1 if the last scrape of the target succeeded, else 0."
)
