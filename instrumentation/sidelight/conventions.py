"""Every attribute and metric name that Sidelight writes or reads, with unit and meaning.

Standard names come first: OpenTelemetry's GenAI and database conventions (state of
November 2026) and OpenInference for display. What no standard has lives under
`sidelight.*` and `db.vector.*` and is defined here and nowhere else, so that it can be
mapped once a standard exists. The reference page of names is generated from this module.

A constant is a plain `str`; its meaning is kept in `ATTRIBUTES` or `METRICS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Instrument = Literal["counter", "gauge", "histogram"]
Across = Literal["sum", "max", "min"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute name: what it means, its unit, and whether it can hold user content."""

    name: str
    meaning: str
    unit: str = ""
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its OpenTelemetry name, instrument, unit (UCUM) and bucket bounds.

    `across` says how the gauges of several workers become one.
    """

    name: str
    instrument: Instrument
    unit: str
    meaning: str
    buckets: tuple[float, ...] = ()
    across: Across = "sum"


ATTRIBUTES: Final[dict[str, Attribute]] = {}
METRICS: Final[dict[str, Metric]] = {}


def _attribute(name: str, meaning: str, *, unit: str = "", sensitive: bool = False) -> str:
    ATTRIBUTES[name] = Attribute(name, meaning, unit, sensitive)
    return name


def _metric(
    name: str,
    instrument: Instrument,
    unit: str,
    meaning: str,
    buckets: tuple[float, ...] = (),
    across: Across = "sum",
) -> str:
    METRICS[name] = Metric(name, instrument, unit, meaning, buckets, across)
    return name


# ── scopes: who made a span ──────────────────────────────────────────────────────────────
# The collector passes spans of these scopes on unopened: they are canonical already.
SCOPE_VLLM: Final = "sidelight.instrumentation.vllm"
SCOPE_VECTORDB: Final = "sidelight.instrumentation.vectordb"
# vLLM's own tracer (`--otlp-traces-endpoint`), made canonical by the collector.
SCOPE_VLLM_BUILTIN: Final = "vllm.tracing.otel"
# The same tracer in older versions of vLLM.
SCOPE_VLLM_BUILTIN_OLD: Final = "vllm.llm_engine"

# ── resource ─────────────────────────────────────────────────────────────────────────────
SERVICE_NAME: Final = _attribute("service.name", "Name of the service that emits.")
SERVICE_VERSION: Final = _attribute("service.version", "Version of the service that emits.")
SERVICE_INSTANCE_ID: Final = _attribute("service.instance.id", "One running instance of it.")
DEPLOYMENT_ENVIRONMENT: Final = _attribute(
    "deployment.environment.name",
    "Deployment tier; Langfuse accepts [a-z0-9-_], at most 40 characters.",
)
PROJECT_NAME: Final = _attribute("openinference.project.name", "Project the trace belongs to.")

# ── display: OpenInference and Langfuse ──────────────────────────────────────────────────
SPAN_KIND: Final = _attribute(
    "openinference.span.kind",
    "CHAIN, AGENT, TOOL, LLM, RETRIEVER, EMBEDDING, RERANKER, GUARDRAIL or EVALUATOR, upper case.",
)
SESSION_ID: Final = _attribute("session.id", "Session the span belongs to.")
USER_ID: Final = _attribute("user.id", "End user the span belongs to.")
INPUT_VALUE: Final = _attribute("input.value", "What went in.", sensitive=True)
INPUT_MIME_TYPE: Final = _attribute("input.mime_type", "MIME type of input.value.")
OUTPUT_VALUE: Final = _attribute("output.value", "What came out.", sensitive=True)
OUTPUT_MIME_TYPE: Final = _attribute("output.mime_type", "MIME type of output.value.")
TAGS: Final = _attribute("tag.tags", "Tags of the trace.")
LANGFUSE_TRACE_NAME: Final = _attribute("langfuse.trace.name", "Name of the trace in Langfuse.")
LANGFUSE_COMPLETION_START: Final = _attribute(
    "langfuse.observation.completion_start_time",
    "Absolute ISO time of the first token: the only way to a time-to-first-token in Langfuse.",
)
LANGFUSE_APP_ROOT: Final = _attribute(
    "langfuse.internal.is_app_root",
    "The span is the topmost that Langfuse gets, though it has a parent elsewhere.",
)
LANGFUSE_COST: Final = _attribute(
    "langfuse.observation.cost_details", "Cost as Langfuse reads it: JSON of input, output, total."
)
LLM_COST_PROMPT: Final = _attribute("llm.cost.prompt", "Cost of the prompt.", unit="{USD}")
LLM_COST_COMPLETION: Final = _attribute("llm.cost.completion", "Cost of the answer.", unit="{USD}")
LLM_COST_TOTAL: Final = _attribute("llm.cost.total", "Cost of the call.", unit="{USD}")
LLM_REASONING_TOKENS: Final = _attribute(
    "llm.token_count.completion_details.reasoning",
    "Reasoning tokens, in OpenInference's name.",
    unit="{token}",
)

# ── GenAI spans ──────────────────────────────────────────────────────────────────────────
OPERATION: Final = _attribute(
    "gen_ai.operation.name", "chat, text_completion, embeddings, retrieval or execute_tool."
)
PROVIDER: Final = _attribute("gen_ai.provider.name", "Who serves the model, for instance vllm.")
PROVIDER_VLLM: Final = "vllm"
REQUEST_MODEL: Final = _attribute("gen_ai.request.model", "Model the client asked for.")
RESPONSE_MODEL: Final = _attribute("gen_ai.response.model", "Model that answered.")
RESPONSE_ID: Final = _attribute("gen_ai.response.id", "Id of the answer, for instance chatcmpl-…")
FINISH_REASONS: Final = _attribute(
    "gen_ai.response.finish_reasons", "Why each choice ended: stop, length, tool_calls, …"
)
REQUEST_STREAM: Final = _attribute("gen_ai.request.stream", "Whether the answer was streamed.")
REQUEST_MAX_TOKENS: Final = _attribute(
    "gen_ai.request.max_tokens", "Most tokens to generate.", unit="{token}"
)
REQUEST_TEMPERATURE: Final = _attribute("gen_ai.request.temperature", "Sampling temperature.")
REQUEST_TOP_P: Final = _attribute("gen_ai.request.top_p", "Nucleus sampling share.")
REQUEST_TOP_K: Final = _attribute("gen_ai.request.top_k", "Sampling among the k likeliest tokens.")
REQUEST_CHOICES: Final = _attribute("gen_ai.request.choice.count", "Choices asked for (n).")
REQUEST_SEED: Final = _attribute("gen_ai.request.seed", "Seed of the sampling.")
REQUEST_FREQUENCY_PENALTY: Final = _attribute(
    "gen_ai.request.frequency_penalty", "Penalty on frequent tokens."
)
REQUEST_PRESENCE_PENALTY: Final = _attribute(
    "gen_ai.request.presence_penalty", "Penalty on present tokens."
)
CONVERSATION_ID: Final = _attribute("gen_ai.conversation.id", "Conversation the call belongs to.")
REQUEST_STOP: Final = _attribute("gen_ai.request.stop_sequences", "Texts that end the answer.")
INPUT_TOKENS: Final = _attribute(
    "gen_ai.usage.input_tokens", "Prompt tokens, cached ones included.", unit="{token}"
)
OUTPUT_TOKENS: Final = _attribute(
    "gen_ai.usage.output_tokens", "Generated tokens, reasoning included.", unit="{token}"
)
CACHED_TOKENS: Final = _attribute(
    "gen_ai.usage.cache_read.input_tokens",
    "Prompt tokens whose KV came from the prefix cache.",
    unit="{token}",
)
CACHE_WRITE_TOKENS: Final = _attribute(
    "gen_ai.usage.cache_creation.input_tokens",
    "Prompt tokens written to a provider's cache.",
    unit="{token}",
)
REASONING_TOKENS: Final = _attribute(
    "gen_ai.usage.reasoning.output_tokens", "Generated tokens of reasoning.", unit="{token}"
)
INPUT_MESSAGES: Final = _attribute(
    "gen_ai.input.messages", "Prompt messages, JSON in the parts schema.", sensitive=True
)
USAGE_COST: Final = _attribute(
    "gen_ai.usage.cost", "Cost of the call, as OpenLIT and Langfuse know it.", unit="{USD}"
)
SYSTEM_INSTRUCTIONS: Final = _attribute(
    "gen_ai.system_instructions", "System prompt apart from the messages, JSON.", sensitive=True
)
OUTPUT_MESSAGES: Final = _attribute(
    "gen_ai.output.messages",
    "Answer messages, JSON in the parts schema; finish_reason on every one or Phoenix drops all.",
    sensitive=True,
)
RETRIEVAL_TOP_K: Final = _attribute("gen_ai.retrieval.top_k", "Documents asked for.")
RETRIEVAL_QUERY: Final = _attribute(
    "gen_ai.retrieval.query.text", "Text that was searched for.", sensitive=True
)
RETRIEVAL_DOCUMENTS: Final = _attribute(
    "gen_ai.retrieval.documents",
    "Documents found, one JSON list of {id, score, content?, metadata?}.",
    sensitive=True,
)
TOOL_ARGUMENTS: Final = _attribute(
    "gen_ai.tool.call.arguments", "What a tool was called with, JSON.", sensitive=True
)
TOOL_RESULT: Final = _attribute("gen_ai.tool.call.result", "What a tool answered.", sensitive=True)
TOOL_NAME: Final = _attribute("gen_ai.tool.name", "The tool that was called.")

# Names of vLLM's own tracer; renamed by the collector because Langfuse adds any unknown
# gen_ai.usage.* to the token total.
VLLM_PROMPT_TOKENS: Final = "gen_ai.usage.prompt_tokens"
VLLM_COMPLETION_TOKENS: Final = "gen_ai.usage.completion_tokens"
VLLM_NUM_SEQUENCES: Final = "gen_ai.usage.num_sequences"
VLLM_REQUEST_ID: Final = "gen_ai.request.id"
VLLM_REQUEST_N: Final = "gen_ai.request.n"
VLLM_LATENCY_E2E: Final = "gen_ai.latency.e2e"
VLLM_LATENCY_TTFT: Final = "gen_ai.latency.time_to_first_token"
VLLM_LATENCY_QUEUE: Final = "gen_ai.latency.time_in_queue"
VLLM_LATENCY_PREFILL: Final = "gen_ai.latency.time_in_model_prefill"
VLLM_LATENCY_DECODE: Final = "gen_ai.latency.time_in_model_decode"
VLLM_LATENCY_INFERENCE: Final = "gen_ai.latency.time_in_model_inference"
VLLM_LATENCY_SCHEDULER: Final = "gen_ai.latency.time_in_scheduler"
VLLM_LATENCY_FORWARD: Final = "gen_ai.latency.time_in_model_forward"
VLLM_LATENCY_EXECUTE: Final = "gen_ai.latency.time_in_model_execute"

# ── what the engine did with a request: no standard has these ────────────────────────────
ENGINE_REQUEST_ID: Final = _attribute(
    "sidelight.request.id", "The engine's id of the request: joins spans, logs and KV events."
)
ENGINE_SEQUENCES: Final = _attribute("sidelight.request.sequences", "Sequences of the request.")
ENGINE_PHASE: Final = _attribute("sidelight.phase", "queue, prefill or decode.")
ENGINE_INDEX: Final = _attribute("sidelight.engine.index", "Data-parallel rank that served it.")
TIME_TO_FIRST_TOKEN: Final = _attribute(
    "sidelight.time_to_first_token", "From the request's arrival to the first token.", unit="s"
)
TIME_PER_OUTPUT_TOKEN: Final = _attribute(
    "sidelight.time_per_output_token", "Mean time between tokens after the first.", unit="s"
)
QUEUE_TIME: Final = _attribute(
    "sidelight.queue.time", "From queued to first scheduled; a later wait is in decode.", unit="s"
)
PREFILL_TIME: Final = _attribute(
    "sidelight.prefill.time", "From first scheduled to the first token.", unit="s"
)
DECODE_TIME: Final = _attribute(
    "sidelight.decode.time", "From the first to the last token.", unit="s"
)
INFERENCE_TIME: Final = _attribute(
    "sidelight.inference.time", "From first scheduled to the last token.", unit="s"
)
GPU_TIME: Final = _attribute(
    "sidelight.gpu.time",
    "GPU time the request's share of its batches comes to, all GPUs together.",
    unit="s",
)
E2E_TIME: Final = _attribute("sidelight.e2e.time", "Arrival to last token in the engine.", unit="s")
SCHEDULER_TIME: Final = _attribute(
    "sidelight.scheduler.time", "Spent in the scheduler (vLLM 0 engine only).", unit="s"
)
FORWARD_TIME: Final = _attribute(
    "sidelight.model.forward.time", "Spent in forward passes (vLLM 0 engine only).", unit="s"
)
EXECUTE_TIME: Final = _attribute(
    "sidelight.model.execute.time",
    "Forward passes, synchronisation and sampling (vLLM 0 engine only).",
    unit="s",
)
# The server's own count, always here and under gen_ai.usage.* only where no client span
# above can hold it too: Langfuse and Phoenix add up gen_ai.usage.* over a trace.
SERVED_INPUT_TOKENS: Final = _attribute(
    "sidelight.usage.input_tokens",
    "Prompt tokens as the server counted them, cached ones included.",
    unit="{token}",
)
SERVED_OUTPUT_TOKENS: Final = _attribute(
    "sidelight.usage.output_tokens", "Generated tokens as the server counted them.", unit="{token}"
)
SERVED_CACHED_TOKENS: Final = _attribute(
    "sidelight.usage.cached_tokens",
    "Prompt tokens found in the prefix cache, as the server counted them.",
    unit="{token}",
)
PREEMPTIONS: Final = _attribute("sidelight.preemptions", "Times the request was preempted.")
STREAM_CHUNKS: Final = _attribute("sidelight.stream.chunks", "Stream chunks sent to the client.")
STREAM_MAX_GAP: Final = _attribute(
    "sidelight.stream.max_gap", "Longest pause between two chunks of the stream.", unit="s"
)
CLIENT_ABORTED: Final = _attribute(
    "sidelight.client_aborted", "The client left before the answer was complete."
)
BATCH_SIZE_MEAN: Final = _attribute(
    "sidelight.batch.size.mean", "Mean running requests per engine step the request met."
)
BATCH_SIZE_MAX: Final = _attribute(
    "sidelight.batch.size.max", "Most running requests in an engine step the request met."
)
WAITING_AT_ARRIVAL: Final = _attribute(
    "sidelight.queue.waiting_at_arrival", "Requests already waiting when it was queued."
)
KV_USAGE_AT_ADMISSION: Final = _attribute(
    "sidelight.kv_cache.usage.at_admission", "KV-cache use when it was scheduled.", unit="1"
)
KV_USAGE_PEAK: Final = _attribute(
    "sidelight.kv_cache.usage.peak", "Highest KV-cache use while it ran.", unit="1"
)
STEPS: Final = _attribute("sidelight.engine.steps", "Engine steps while it ran.")
STEPS_WITH_PREFILL: Final = _attribute(
    "sidelight.engine.steps_with_prefill",
    "Decode steps that also carried other requests' prompt tokens.",
)
KEEP_TRACE: Final = _attribute(
    "sidelight.keep", "true on any span flags its trace: tail sampling keeps it."
)
TENANT: Final = _attribute(
    "sidelight.tenant",
    "On resources: whom the sender's token or key pair belongs to; the collector sets it.",
)
CONTENT_TRUNCATED: Final = _attribute(
    "sidelight.content.truncated", "Captured content was cut by a cap."
)

# ── HTTP ─────────────────────────────────────────────────────────────────────────────────
HTTP_METHOD: Final = _attribute("http.request.method", "HTTP method.")
HTTP_ROUTE: Final = _attribute("http.route", "Route that matched.")
HTTP_STATUS: Final = _attribute("http.response.status_code", "HTTP status.")
SERVER_ADDRESS: Final = _attribute("server.address", "Host of the server.")
SERVER_PORT: Final = _attribute("server.port", "Port of the server.")
# Labels of the collector's own metrics.
OUTCOME: Final = _attribute("outcome", "How it ended: found, empty, error or unknown.")
RECORDS_ACTION: Final = _attribute("action", "returned, written or deleted.")
SCORE_SCALE: Final = _attribute(
    "scale", "What scores are measured in: a metric type (COSINE, L2, …) or a ranker."
)
DELAY_CAUSE: Final = _attribute(
    "cause", "queue, prefill, decode, interference, preemption or outside."
)
TOKEN_TYPE: Final = _attribute(
    "gen_ai.token.type", "input and output; cached is a part of input, reasoning of output."
)
CURRENCY: Final = _attribute("currency", "Currency of a cost, ISO 4217.")
ERROR_TYPE: Final = _attribute("error.type", "Class of the error, or the HTTP status as text.")

# ── vector databases ─────────────────────────────────────────────────────────────────────
DB_SYSTEM: Final = _attribute("db.system.name", "milvus, qdrant or chroma.")
DB_OPERATION: Final = _attribute("db.operation.name", "search, hybrid_search, query, insert, …")
DB_COLLECTION: Final = _attribute("db.collection.name", "Collection the call was for.")
DB_NAMESPACE: Final = _attribute("db.namespace", "Database; for Chroma tenant/database.")
DB_BATCH_SIZE: Final = _attribute(
    "db.operation.batch.size", "Entities or requests in the call, if more than one."
)
DB_STATUS_CODE: Final = _attribute("db.response.status_code", "The database's own error code.")
DB_RETURNED_ROWS: Final = _attribute("db.response.returned_rows", "Hits or rows returned.")
DB_FILTER: Final = _attribute("db.vector.filter", "Filter expression.", sensitive=True)
DB_QUERY_TEXT: Final = _attribute("db.query.text", "The query as text.", sensitive=True)
VECTOR_DIMENSION: Final = _attribute("db.vector.dimension", "Dimensions of the query vector.")
VECTOR_QUERY_COUNT: Final = _attribute("db.vector.query.count", "Query vectors in the call.")
VECTOR_FIELD: Final = _attribute("db.vector.field", "Vector field that was searched.")
VECTOR_METRIC_TYPE: Final = _attribute("db.vector.metric_type", "COSINE, IP, L2, …")
VECTOR_INDEX_TYPE: Final = _attribute("db.vector.index_type", "HNSW, IVF_FLAT, AUTOINDEX, …")
VECTOR_EF: Final = _attribute("db.vector.search.ef", "HNSW search breadth.")
VECTOR_NPROBE: Final = _attribute("db.vector.search.nprobe", "IVF lists probed.")
VECTOR_RANKER: Final = _attribute("db.vector.ranker", "How a hybrid search merges its branches.")
VECTOR_GROUP_BY: Final = _attribute("db.vector.group_by", "Field that groups the hits.")
VECTOR_SCORE_TOP: Final = _attribute("db.vector.score.top", "Score of the best hit.")
VECTOR_SCORE_LAST: Final = _attribute("db.vector.score.last", "Score of the last hit.")
VECTOR_SCORE_MEAN: Final = _attribute("db.vector.score.mean", "Mean score of the hits.")
VECTOR_SCORE_GAP: Final = _attribute(
    "db.vector.score.gap", "Distance between the best and the second hit's score, never negative."
)
VECTOR_SCORE_DIRECTION: Final = _attribute(
    "db.vector.score.direction",
    "higher_is_better or lower_is_better; absent where it cannot be known without another call.",
)
VECTOR_EMPTY: Final = _attribute("db.vector.search.empty", "A search that found nothing.")
VECTOR_EMPTY_QUERIES: Final = _attribute(
    "db.vector.search.empty_queries", "Queries of a batch that found nothing."
)
VECTOR_RECORDS: Final = _attribute(
    "db.vector.records", "Records a write stored or deleted, as the database counted them."
)
VECTOR_PAGES: Final = _attribute("db.vector.iterator.pages", "Pages an iterator has fetched.")
VECTOR_BRANCHES: Final = _attribute(
    "db.vector.branches", "Searches that a hybrid search merges into one result."
)
MILVUS_CONSISTENCY: Final = _attribute("db.milvus.consistency_level", "Consistency asked for.")
MILVUS_COST: Final = _attribute("db.milvus.cost", "Cost the server reported.")
QDRANT_SERVER_DURATION: Final = _attribute(
    "db.qdrant.server.duration", "Time the server says it spent on the call.", unit="s"
)
QDRANT_UPDATE_STATUS: Final = _attribute(
    "db.qdrant.update_status", "completed, or acknowledged if the write is not applied yet."
)
QDRANT_CPU: Final = _attribute("db.qdrant.usage.cpu", "CPU the server counted for the call.")
QDRANT_IO_READ: Final = _attribute(
    "db.qdrant.usage.io_read", "Payload, index and vector reads the server counted."
)
QDRANT_IO_WRITE: Final = _attribute(
    "db.qdrant.usage.io_write", "Payload, index and vector writes the server counted."
)
MILVUS_SCANNED_BYTES: Final = _attribute(
    "db.milvus.scanned_bytes", "Bytes the server scanned for the call.", unit="By"
)
MILVUS_CACHE_HIT_RATIO: Final = _attribute(
    "db.milvus.cache_hit_ratio", "Share of the scan that the server's cache served.", unit="1"
)

# ── metrics ──────────────────────────────────────────────────────────────────────────────
SECONDS_BUCKETS: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
TTFT_BUCKETS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
TPOT_BUCKETS: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
DB_SECONDS_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
STEP_SECONDS_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
SHARE_BUCKETS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 1.0)
SIZE_BUCKETS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

SERVER_REQUEST_DURATION: Final = _metric(
    "gen_ai.server.request.duration",
    "histogram",
    "s",
    "Time the server took for a request.",
    SECONDS_BUCKETS,
)
SERVER_TTFT: Final = _metric(
    "gen_ai.server.time_to_first_token",
    "histogram",
    "s",
    "Time to the first token of a successful answer.",
    TTFT_BUCKETS,
)
SERVER_TPOT: Final = _metric(
    "gen_ai.server.time_per_output_token",
    "histogram",
    "s",
    "Time per token after the first of a successful answer.",
    TPOT_BUCKETS,
)
DB_CLIENT_DURATION: Final = _metric(
    "db.client.operation.duration",
    "histogram",
    "s",
    "Duration of database client operations.",
    DB_SECONDS_BUCKETS,
)
DB_CLIENT_RETURNED_ROWS: Final = _metric(
    "db.client.response.returned_rows",
    "histogram",
    "{row}",
    "Rows returned by database client operations.",
    (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0),
)
# Scores are only comparable within one metric type or ranker, which are attributes of these.
SCORE_BUCKETS: Final = (
    0.0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65,
    0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.25, 1.5, 2.0, 5.0, 10.0, 25.0, 100.0,
)  # fmt: skip
VECTOR_TOP_SCORE: Final = _metric(
    "db.vector.search.top_score",
    "histogram",
    "1",
    "Score of the best hit of each query; a negative one counts as zero.",
    SCORE_BUCKETS,
)
VECTOR_SCORE_GAP_SIZE: Final = _metric(
    "db.vector.search.score_gap",
    "histogram",
    "1",
    "Distance between the scores of the best and the second hit of each query.",
    SCORE_BUCKETS,
)
VECTOR_EMPTY_SEARCHES: Final = _metric(
    "db.vector.search.empty_results", "counter", "{query}", "Queries that found nothing."
)
VECTOR_RECORDS_WRITTEN: Final = _metric(
    "db.vector.records.written", "counter", "{record}", "Records stored by inserts and upserts."
)
VECTOR_RECORDS_DELETED: Final = _metric(
    "db.vector.records.deleted", "counter", "{record}", "Records deleted, where the client says."
)

# Per engine step, from inside vLLM. The share-of-time histograms count seconds, not steps,
# so that a peak between two scrapes is not lost and an idle engine does not weigh in.
ENGINE_STEPS: Final = _metric(
    "sidelight.engine.steps", "counter", "{step}", "Engine steps seen by the stat logger."
)
ENGINE_STEP_DURATION: Final = _metric(
    "sidelight.engine.step.duration",
    "histogram",
    "s",
    "Time between two engine steps while requests run.",
    STEP_SECONDS_BUCKETS,
)
ENGINE_BATCH_SIZE: Final = _metric(
    "sidelight.engine.batch.size",
    "histogram",
    "{request}",
    "Running requests per engine step.",
    SIZE_BUCKETS,
)
ENGINE_BATCH_TOKENS: Final = _metric(
    "sidelight.engine.batch.tokens",
    "histogram",
    "{token}",
    "Tokens worked on per engine step, prompt and generated.",
    (1.0, 4.0, 16.0, 64.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0),
)
ENGINE_WAITING: Final = _metric(
    "sidelight.engine.requests.waiting",
    "histogram",
    "{request}",
    "Waiting requests per engine step.",
    SIZE_BUCKETS,
)
ENGINE_RUNNING_NOW: Final = _metric(
    "sidelight.engine.requests.running.current", "gauge", "{request}", "Requests running now."
)
ENGINE_WAITING_NOW: Final = _metric(
    "sidelight.engine.requests.waiting.current", "gauge", "{request}", "Requests waiting now."
)
ENGINE_KV_USAGE: Final = _metric(
    "sidelight.engine.kv_cache.usage",
    "gauge",
    "1",
    "Share of KV-cache blocks in use at the last engine step.",
)
ENGINE_KV_USAGE_TIME: Final = _metric(
    "sidelight.engine.kv_cache.usage.time",
    "counter",
    "s",
    "Seconds spent at or below each KV-cache use (attribute `le`): a time-weighted histogram.",
    SHARE_BUCKETS,
)
ENGINE_PREEMPTIONS: Final = _metric(
    "sidelight.engine.preemptions", "counter", "{preemption}", "Requests preempted."
)
ENGINE_PREFIX_QUERIES: Final = _metric(
    "sidelight.engine.prefix_cache.queries",
    "counter",
    "{token}",
    "Prompt tokens looked up in the prefix cache.",
)
ENGINE_PREFIX_HITS: Final = _metric(
    "sidelight.engine.prefix_cache.hits",
    "counter",
    "{token}",
    "Prompt tokens found in the prefix cache.",
)
CLIENT_ABORTS: Final = _metric(
    "sidelight.server.client_aborts",
    "counter",
    "{request}",
    "Requests whose client left before the answer was complete; vLLM does not count them.",
)
INSTRUMENTATION_FAULTS: Final = _metric(
    "sidelight.instrumentation.faults",
    "counter",
    "{fault}",
    "Errors inside the instrumentation, swallowed so that the observed process goes on.",
)
INSTRUMENTATION_DROPPED: Final = _metric(
    "sidelight.instrumentation.dropped",
    "counter",
    "{record}",
    "Records the instrumentation dropped because a bounded queue was full.",
)

# Made by the collector from spans. Clients make metrics of their own (db.vector.*,
# db.client.*) of the same searches: these names keep the two apart.
RETRIEVAL_SEARCHES: Final = _metric(
    "sidelight.retrieval.searches",
    "counter",
    "{query}",
    "Queries to vector databases seen in spans, by outcome.",
)
RETRIEVAL_RECORDS: Final = _metric(
    "sidelight.retrieval.records",
    "counter",
    "{record}",
    "Records that searches returned and that writes stored or deleted, seen in spans.",
)
RETRIEVAL_DURATION: Final = _metric(
    "sidelight.retrieval.duration",
    "histogram",
    "s",
    "Time of searches in vector databases, seen in spans.",
    DB_SECONDS_BUCKETS,
)
RETRIEVAL_TOP_SCORE: Final = _metric(
    "sidelight.retrieval.top_score",
    "histogram",
    "{score}",
    "Score of a search's best hit, seen in spans; a negative one counts as zero.",
    SCORE_BUCKETS,
)
RETRIEVAL_SCORE_GAP: Final = _metric(
    "sidelight.retrieval.score_gap",
    "histogram",
    "{score}",
    "Distance between the scores of a search's best and second hit, seen in spans.",
    SCORE_BUCKETS,
)
RETRIEVAL_DRIFT: Final = _metric(
    "sidelight.retrieval.score.drift",
    "gauge",
    "{psi}",
    "Population stability index of top scores against the baseline; absent while too few.",
    across="max",
)
RETRIEVAL_POOR: Final = _metric(
    "sidelight.retrieval.poor_scores",
    "counter",
    "{search}",
    "Searches whose top score is worse than 95 % of the baseline's.",
)
TOKENS: Final = _metric(
    "sidelight.tokens", "counter", "{token}", "Tokens of model calls, each call counted once."
)
COST: Final = _metric(
    "sidelight.cost", "counter", "{currency}", "Cost of model calls, each call counted once."
)
REQUEST_DELAY: Final = _metric(
    "sidelight.request.delay",
    "histogram",
    "s",
    "Where the time of a served request went, by cause; the causes add up to its duration.",
    SECONDS_BUCKETS,
)
REQUEST_PREEMPTIONS: Final = _metric(
    "sidelight.request.preemptions",
    "counter",
    "{preemption}",
    "Preemptions of served requests.",
)

# The collector's own health.
COLLECTOR_RECEIVED: Final = _metric(
    "sidelight.collector.received", "counter", "{item}", "Items acknowledged, by signal."
)
COLLECTOR_DUPLICATES: Final = _metric(
    "sidelight.collector.duplicates",
    "counter",
    "{item}",
    "Items acknowledged again, not stored again: the same request came twice, by signal.",
)
COLLECTOR_REFUSED: Final = _metric(
    "sidelight.collector.refused", "counter", "{item}", "Items refused, by signal and reason."
)
COLLECTOR_EXTENSION_FAULTS: Final = _metric(
    "sidelight.collector.extension.faults",
    "counter",
    "{fault}",
    "Spans that an extension failed on and that were passed on as they were.",
)
COLLECTOR_EXTENSION_DROPPED: Final = _metric(
    "sidelight.collector.extension.dropped", "counter", "{span}", "Spans an extension took out."
)
COLLECTOR_REDACTED: Final = _metric(
    "sidelight.collector.redacted", "counter", "{text}", "Texts masked, by rule."
)
COLLECTOR_REQUESTS: Final = _metric(
    "sidelight.collector.requests", "counter", "{request}", "Requests by protocol and outcome."
)
COLLECTOR_UNAUTHORIZED: Final = _metric(
    "sidelight.collector.unauthorized",
    "counter",
    "{request}",
    "Requests refused for their credentials, by protocol and reason.",
)
COLLECTOR_HANDSHAKES_FAILED: Final = _metric(
    "sidelight.collector.handshakes.failed",
    "counter",
    "{connection}",
    "Connections to a TLS port that came to nothing, by listener and reason.",
)
COLLECTOR_DELIVERED: Final = _metric(
    "sidelight.collector.delivered", "counter", "{item}", "Items a destination accepted."
)
COLLECTOR_DROPPED: Final = _metric(
    "sidelight.collector.dropped",
    "counter",
    "{item}",
    "Acknowledged items given up, by destination and reason.",
)
COLLECTOR_WITHHELD: Final = _metric(
    "sidelight.collector.withheld",
    "counter",
    "{item}",
    "Items a destination did not get because its configuration says so, by reason.",
)
COLLECTOR_SAMPLED: Final = _metric(
    "sidelight.collector.traces.sampled",
    "counter",
    "{trace}",
    "Traces decided on by tail sampling, by destination, decision (kept or dropped) and reason.",
)
COLLECTOR_RETRIES: Final = _metric(
    "sidelight.collector.retries", "counter", "{request}", "Sends that failed and will be repeated."
)
COLLECTOR_LAG: Final = _metric(
    "sidelight.collector.lag",
    "gauge",
    "s",
    "Age of the oldest item a destination has yet to get.",
    across="max",
)
COLLECTOR_LOG_BYTES: Final = _metric(
    "sidelight.collector.log.size", "gauge", "By", "Bytes of segments on disk."
)
COLLECTOR_PENDING: Final = _metric(
    "sidelight.collector.log.pending", "gauge", "By", "Bytes received that wait for the disk."
)
COLLECTOR_BUFFERED: Final = _metric(
    "sidelight.collector.receive.buffered",
    "gauge",
    "By",
    "Memory of the bodies that are under way over HTTP.",
)
COLLECTOR_CONNECTIONS: Final = _metric(
    "sidelight.collector.connections", "gauge", "{connection}", "Open connections over HTTP."
)
COLLECTOR_RELOAD_OK: Final = _metric(
    "sidelight.collector.config.reload.ok",
    "gauge",
    "",
    "1 if the last reload of the configuration succeeded or there was none, else 0.",
    across="min",
)
COLLECTOR_CONFIG_LOADED: Final = _metric(
    "sidelight.collector.config.loaded",
    "gauge",
    "s",
    "When the running configuration was loaded, in seconds since the epoch.",
    across="min",
)
COLLECTOR_WORKERS: Final = _metric(
    "sidelight.collector.workers", "gauge", "{worker}", "Workers that serve."
)
COLLECTOR_WORKER_RESTARTS: Final = _metric(
    "sidelight.collector.worker.restarts", "counter", "{restart}", "Workers that were begun anew."
)
COLLECTOR_SCRAPES: Final = _metric(
    "sidelight.collector.scrapes", "counter", "{scrape}", "Scrapes by target and outcome."
)
COLLECTOR_METRIC_SERIES: Final = _metric(
    "sidelight.collector.metrics.series", "gauge", "{series}", "Series received by OTLP and shown."
)
COLLECTOR_METRIC_POINTS_DROPPED: Final = _metric(
    "sidelight.collector.metrics.points.dropped",
    "counter",
    "{point}",
    "Points received by OTLP that /metrics cannot show, by reason.",
)
# Prometheus's own name for it, so that rules on `up` also see what is scraped through Sidelight.
TARGET_UP: Final = _metric(
    "up", "gauge", "", "1 if the last scrape of the target succeeded, else 0."
)


def prometheus_name(metric: str) -> str:
    """The Prometheus name of a metric defined here, without `_total`, `_bucket` and the like.

    Dots become underscores and the unit is spelled out as a suffix, as OpenTelemetry's
    Prometheus compatibility specification has it: `sidelight.collector.lag` in seconds is
    `sidelight_collector_lag_seconds`; annotations in braces add nothing; a ratio ("1")
    adds `_ratio` to gauges only.

    Raises `KeyError` if the metric is not defined in this module.
    """
    definition = METRICS[metric]
    suffix = {"s": "_seconds", "By": "_bytes"}.get(definition.unit, "")
    if definition.unit == "1" and definition.instrument == "gauge":
        suffix = "_ratio"
    return metric.replace(".", "_") + suffix
