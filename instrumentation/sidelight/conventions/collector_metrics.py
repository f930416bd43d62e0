"""Metrics that the collector makes from spans, and of its own health."""

from __future__ import annotations

from typing import Final

from sidelight.conventions import buckets
from sidelight.conventions.definitions import COLLECTOR, Group

# Made by the collector from spans. Clients make metrics of their own (db.vector.*,
# db.client.*) of the same searches: these names keep the two apart.
_SEARCHES: Final = Group("Searches, from spans", COLLECTOR)
RETRIEVAL_SEARCHES: Final = _SEARCHES.metric(
    "sidelight.retrieval.searches",
    "counter",
    "{query}",
    "Queries to vector databases in spans, by outcome.",
)
RETRIEVAL_RECORDS: Final = _SEARCHES.metric(
    "sidelight.retrieval.records",
    "counter",
    "{record}",
    "Records that searches returned and writes stored or deleted, in spans.",
)
RETRIEVAL_DURATION: Final = _SEARCHES.metric(
    "sidelight.retrieval.duration",
    "histogram",
    "s",
    "Duration of searches in vector databases, in spans.",
    buckets=buckets.DB_SECONDS_BUCKETS,
)
RETRIEVAL_TOP_SCORE: Final = _SEARCHES.metric(
    "sidelight.retrieval.top_score",
    "histogram",
    "{score}",
    "Score of a search's best hit, in spans; a negative one counts as zero.",
    buckets=buckets.SCORE_BUCKETS,
)
RETRIEVAL_SCORE_GAP: Final = _SEARCHES.metric(
    "sidelight.retrieval.score_gap",
    "histogram",
    "{score}",
    "Distance between the scores of a search's best and second hit, in spans.",
    buckets=buckets.SCORE_BUCKETS,
)
RETRIEVAL_DRIFT: Final = _SEARCHES.metric(
    "sidelight.retrieval.score.drift",
    "gauge",
    "{psi}",
    "Population stability index of top scores against the baseline; absent if there are too few.",
    across="max",
)
RETRIEVAL_POOR: Final = _SEARCHES.metric(
    "sidelight.retrieval.poor_scores",
    "counter",
    "{search}",
    "Searches whose top score is worse than 95 % of the baseline's.",
)
_REQUESTS: Final = Group("Model calls and served requests, from spans", COLLECTOR)
SERVER_REQUEST_DURATION: Final = _REQUESTS.metric(
    "gen_ai.server.request.duration",
    "histogram",
    "s",
    "Time that the server took for a request.",
    buckets=buckets.SECONDS_BUCKETS,
)
SERVER_TTFT: Final = _REQUESTS.metric(
    "gen_ai.server.time_to_first_token",
    "histogram",
    "s",
    "Time to the first token of a successful answer.",
    buckets=buckets.TTFT_BUCKETS,
)
SERVER_TPOT: Final = _REQUESTS.metric(
    "gen_ai.server.time_per_output_token",
    "histogram",
    "s",
    "Time per token after the first of a successful answer.",
    buckets=buckets.TPOT_BUCKETS,
)
TOKENS: Final = _REQUESTS.metric(
    "sidelight.tokens", "counter", "{token}", "Tokens of model calls, each call counted once."
)
COST: Final = _REQUESTS.metric(
    "sidelight.cost", "counter", "{currency}", "Cost of model calls, each call counted once."
)
REQUEST_DELAY: Final = _REQUESTS.metric(
    "sidelight.request.delay",
    "histogram",
    "s",
    "Time of a served request by cause; the causes add up to its duration.",
    buckets=buckets.SECONDS_BUCKETS,
)
REQUEST_PREEMPTIONS: Final = _REQUESTS.metric(
    "sidelight.request.preemptions", "counter", "{preemption}", "Preemptions of served requests."
)

_KV_CACHE: Final = Group("KV cache, from vLLM's KV events", COLLECTOR)
KV_STORED: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.stored",
    "counter",
    "{token}",
    "Tokens of blocks that the engine computed and stored, by kind: new, again (evicted before), "
    "copy (in the cache already) or generated (by decode).",
)
KV_EVICTED: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.evicted", "counter", "{block}", "Blocks that the engine evicted."
)
KV_EXTRA_HITS: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.extra_hits",
    "counter",
    "{token}",
    "Prompt tokens that were computed and that a cache of so many times the size would have kept.",
)
KV_EXTRA_HITS_COMPLETE: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.extra_hits.complete",
    "gauge",
    "",
    "1 while the extra hits of a cache size are known, 0 after missing events until they are "
    "known again.",
    across="min",
)
KV_BLOCK_LIFETIME: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.block.lifetime",
    "histogram",
    "s",
    "Time from storing a block to its eviction, of the sampled blocks.",
    buckets=buckets.BLOCK_SECONDS_BUCKETS,
)
KV_BLOCK_ABSENCE: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.block.absence",
    "histogram",
    "s",
    "Time from the eviction of a block to storing it again, of the sampled blocks.",
    buckets=buckets.BLOCK_SECONDS_BUCKETS,
)
KV_CAPACITY: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.capacity",
    "gauge",
    "{block}",
    "Size of the cache, configured or as observed in the events.",
)
KV_SAMPLED: Final = _KV_CACHE.metric(
    "sidelight.kv_cache.sampled_share",
    "gauge",
    "1",
    "Share of all blocks that the collector follows.",
    across="min",
)
KV_MESSAGES: Final = _KV_CACHE.metric(
    "sidelight.kv_events.messages",
    "counter",
    "{message}",
    "Messages with KV events by outcome: received, replayed, malformed or lost.",
)
KV_RESETS: Final = _KV_CACHE.metric(
    "sidelight.kv_events.resets",
    "counter",
    "{reset}",
    "How often the blocks known so far were forgotten, by reason: joined, gap, restart or cleared.",
)
KV_CONNECTIONS: Final = _KV_CACHE.metric(
    "sidelight.kv_events.connections",
    "gauge",
    "{connection}",
    "Open connections with publishers of KV events.",
)

# The collector's own health.
_COLLECTOR: Final = Group("The collector itself", COLLECTOR)
COLLECTOR_RECEIVED: Final = _COLLECTOR.metric(
    "sidelight.collector.received", "counter", "{item}", "Items acknowledged, by signal."
)
COLLECTOR_DUPLICATES: Final = _COLLECTOR.metric(
    "sidelight.collector.duplicates",
    "counter",
    "{item}",
    "Items acknowledged but not stored again, because the same request came twice, by signal.",
)
COLLECTOR_REFUSED: Final = _COLLECTOR.metric(
    "sidelight.collector.refused", "counter", "{item}", "Items refused, by signal and reason."
)
COLLECTOR_EXTENSION_FAULTS: Final = _COLLECTOR.metric(
    "sidelight.collector.extension.faults",
    "counter",
    "{fault}",
    "Spans that an extension failed on and that were passed on unchanged.",
)
COLLECTOR_EXTENSION_DROPPED: Final = _COLLECTOR.metric(
    "sidelight.collector.extension.dropped", "counter", "{span}", "Spans that an extension removed."
)
COLLECTOR_REDACTED: Final = _COLLECTOR.metric(
    "sidelight.collector.redacted", "counter", "{text}", "Texts masked, by rule."
)
COLLECTOR_REQUESTS: Final = _COLLECTOR.metric(
    "sidelight.collector.requests", "counter", "{request}", "Requests by protocol and outcome."
)
COLLECTOR_UNAUTHORIZED: Final = _COLLECTOR.metric(
    "sidelight.collector.unauthorized",
    "counter",
    "{request}",
    "Requests refused for their credentials, by protocol and reason.",
)
COLLECTOR_HANDSHAKES_FAILED: Final = _COLLECTOR.metric(
    "sidelight.collector.handshakes.failed",
    "counter",
    "{connection}",
    "TLS handshakes that failed, by listener and reason.",
)
COLLECTOR_DELIVERED: Final = _COLLECTOR.metric(
    "sidelight.collector.delivered", "counter", "{item}", "Items that a destination accepted."
)
COLLECTOR_DROPPED: Final = _COLLECTOR.metric(
    "sidelight.collector.dropped",
    "counter",
    "{item}",
    "Acknowledged items that were dropped, by destination and reason.",
)
COLLECTOR_WITHHELD: Final = _COLLECTOR.metric(
    "sidelight.collector.withheld",
    "counter",
    "{item}",
    "Items that a destination did not get because its configuration says so, by reason.",
)
COLLECTOR_SAMPLED: Final = _COLLECTOR.metric(
    "sidelight.collector.traces.sampled",
    "counter",
    "{trace}",
    "Traces that tail sampling decided on, by destination, decision (kept or dropped) and reason.",
)
COLLECTOR_RETRIES: Final = _COLLECTOR.metric(
    "sidelight.collector.retries", "counter", "{request}", "Sends that failed and will be retried."
)
COLLECTOR_LAG: Final = _COLLECTOR.metric(
    "sidelight.collector.lag",
    "gauge",
    "s",
    "Age of the oldest item that a destination has not received yet.",
    across="max",
)
COLLECTOR_TROUBLE: Final = _COLLECTOR.metric(
    "sidelight.collector.destination.trouble",
    "gauge",
    "{destination}",
    "1 while a destination does not accept data, by cause.",
    across="max",
)
COLLECTOR_LOG_BYTES: Final = _COLLECTOR.metric(
    "sidelight.collector.log.size", "gauge", "By", "Bytes of log segments on disk."
)
COLLECTOR_PENDING: Final = _COLLECTOR.metric(
    "sidelight.collector.log.pending", "gauge", "By", "Bytes received that wait for the disk."
)
COLLECTOR_BUFFERED: Final = _COLLECTOR.metric(
    "sidelight.collector.receive.buffered",
    "gauge",
    "By",
    "Bytes of requests under way, as sent and decompressed.",
)
COLLECTOR_CONNECTIONS: Final = _COLLECTOR.metric(
    "sidelight.collector.connections", "gauge", "{connection}", "Open HTTP connections."
)
COLLECTOR_LOG_OK: Final = _COLLECTOR.metric(
    "sidelight.collector.log.ok",
    "gauge",
    "",
    "1 while received data can be written to the log, else 0: the disk fails, or the log's folder "
    "is gone.",
    across="min",
)
COLLECTOR_RELOAD_OK: Final = _COLLECTOR.metric(
    "sidelight.collector.config.reload.ok",
    "gauge",
    "",
    "1 if the last reload of the configuration succeeded or none was tried, else 0.",
    across="min",
)
COLLECTOR_CONFIG_LOADED: Final = _COLLECTOR.metric(
    "sidelight.collector.config.loaded",
    "gauge",
    "s",
    "When the running configuration was loaded, in seconds since the epoch.",
    across="min",
)
COLLECTOR_WORKERS: Final = _COLLECTOR.metric(
    "sidelight.collector.workers", "gauge", "{worker}", "Workers that serve."
)
COLLECTOR_WORKER_RESTARTS: Final = _COLLECTOR.metric(
    "sidelight.collector.worker.restarts", "counter", "{restart}", "Workers that were restarted."
)
COLLECTOR_SCRAPES: Final = _COLLECTOR.metric(
    "sidelight.collector.scrapes", "counter", "{scrape}", "Scrapes by target and outcome."
)
COLLECTOR_METRIC_SERIES: Final = _COLLECTOR.metric(
    "sidelight.collector.metrics.series",
    "gauge",
    "{series}",
    "Series received by OTLP and shown on /metrics.",
)
COLLECTOR_METRIC_POINTS_DROPPED: Final = _COLLECTOR.metric(
    "sidelight.collector.metrics.points.dropped",
    "counter",
    "{point}",
    "Points received by OTLP that /metrics cannot show, by reason.",
)
COLLECTOR_METRIC_SERIES_HIDDEN: Final = _COLLECTOR.metric(
    "sidelight.collector.metrics.series.hidden",
    "gauge",
    "{series}",
    "Series that /metrics leaves out, because another source has the name, by source and reason.",
)
COLLECTOR_SCRAPE_SAMPLES_DROPPED: Final = _COLLECTOR.metric(
    "sidelight.collector.scrape.samples.dropped",
    "counter",
    "{sample}",
    "Scraped samples that /metrics cannot show, by target and reason.",
)
# Prometheus's own name for it, so that rules on `up` also see what is scraped through Sidelight.
TARGET_UP: Final = _COLLECTOR.metric(
    "up", "gauge", "", "1 if the last scrape of the target succeeded, else 0."
)
