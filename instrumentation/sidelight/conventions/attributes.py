"""Attributes of spans and resources, and labels of metrics.

Those of the engine and of vector databases have modules of their own.
"""

from __future__ import annotations

from typing import Final

from sidelight.conventions.definitions import APPS, CLIENTS, COLLECTOR, VLLM, Group

# ── scopes: who made a span ──────────────────────────────────────────────────────────────
# The collector passes spans of these scopes on unopened: they are canonical already.
SCOPE_VLLM: Final = "sidelight.instrumentation.vllm"
SCOPE_VECTORDB: Final = "sidelight.instrumentation.vectordb"
# vLLM's own tracer (`--otlp-traces-endpoint`), made canonical by the collector.
SCOPE_VLLM_BUILTIN: Final = "vllm.tracing.otel"
# The same tracer in older versions of vLLM.
SCOPE_VLLM_BUILTIN_OLD: Final = "vllm.llm_engine"

# ── resource ─────────────────────────────────────────────────────────────────────────────
_RESOURCES: Final = Group("Resources")
SERVICE_NAME: Final = _RESOURCES.attribute(
    "service.name", "Name of the service that sends.", VLLM, COLLECTOR, APPS
)
SERVICE_VERSION: Final = _RESOURCES.attribute(
    "service.version", "Version of the service that sends.", VLLM, APPS
)
SERVICE_INSTANCE_ID: Final = _RESOURCES.attribute(
    "service.instance.id", "Id of one running process of the service.", VLLM, APPS
)
TELEMETRY_SDK_LANGUAGE: Final = _RESOURCES.attribute(
    "telemetry.sdk.language", "Language of what makes the telemetry.", VLLM
)
TELEMETRY_SDK_NAME: Final = _RESOURCES.attribute(
    "telemetry.sdk.name", "What makes the telemetry: `sidelight`.", VLLM
)
TELEMETRY_SDK_VERSION: Final = _RESOURCES.attribute(
    "telemetry.sdk.version", "Version of what makes the telemetry.", VLLM
)
HOST_NAME: Final = _RESOURCES.attribute(
    "host.name", "Name of the host that the service runs on.", APPS
)
DEPLOYMENT_ENVIRONMENT: Final = _RESOURCES.attribute(
    "deployment.environment.name",
    "Deployment environment; Langfuse accepts [a-z0-9-_], at most 40 characters.",
    APPS,
)
PROJECT_NAME: Final = _RESOURCES.attribute(
    "openinference.project.name", "Project in Phoenix that the trace belongs to.", COLLECTOR, APPS
)

# ── display: OpenInference and Langfuse ──────────────────────────────────────────────────
_DISPLAY: Final = Group("Display in Phoenix and Langfuse")
SPAN_KIND: Final = _DISPLAY.attribute(
    "openinference.span.kind",
    "Kind of the span: CHAIN, AGENT, TOOL, LLM, RETRIEVER, EMBEDDING, RERANKER, GUARDRAIL or "
    "EVALUATOR.",
    VLLM,
    CLIENTS,
    COLLECTOR,
)
SESSION_ID: Final = _DISPLAY.attribute(
    "session.id", "Session that the span belongs to.", VLLM, COLLECTOR, APPS
)
USER_ID: Final = _DISPLAY.attribute(
    "user.id", "End user that the span belongs to.", VLLM, COLLECTOR, APPS
)
INPUT_VALUE: Final = _DISPLAY.attribute(
    "input.value", "Input of the operation.", VLLM, CLIENTS, COLLECTOR, sensitive=True
)
INPUT_MIME_TYPE: Final = _DISPLAY.attribute(
    "input.mime_type", "MIME type of input.value.", VLLM, CLIENTS, COLLECTOR
)
OUTPUT_VALUE: Final = _DISPLAY.attribute(
    "output.value", "Output of the operation.", VLLM, CLIENTS, COLLECTOR, sensitive=True
)
OUTPUT_MIME_TYPE: Final = _DISPLAY.attribute(
    "output.mime_type", "MIME type of output.value.", VLLM, CLIENTS, COLLECTOR
)
TAGS: Final = _DISPLAY.attribute("tag.tags", "Tags of the trace.", VLLM, COLLECTOR, APPS)
LANGFUSE_TRACE_NAME: Final = _DISPLAY.attribute(
    "langfuse.trace.name", "Name of the trace in Langfuse.", VLLM, COLLECTOR, APPS
)
LANGFUSE_COMPLETION_START: Final = _DISPLAY.attribute(
    "langfuse.observation.completion_start_time",
    "Time of the first token in ISO 8601; Langfuse derives the time to first token from it.",
    VLLM,
    COLLECTOR,
)
LANGFUSE_APP_ROOT: Final = _DISPLAY.attribute(
    "langfuse.internal.is_app_root",
    "true on the topmost span that Langfuse gets, if its parent is elsewhere.",
    COLLECTOR,
)
LANGFUSE_COST: Final = _DISPLAY.attribute(
    "langfuse.observation.cost_details",
    "Cost of the call as JSON with input, output and total, as Langfuse reads it; total 0 on "
    "spans whose tokens another span counts.",
    VLLM,
    COLLECTOR,
)
# Langfuse prices the texts of a span that has a model and neither usage nor cost.
LANGFUSE_NO_COST: Final = '{"total":0}'
LANGFUSE_USAGE: Final = _DISPLAY.attribute(
    "langfuse.observation.usage_details",
    "Tokens of the call as JSON, as Langfuse reads them before all others.",
    COLLECTOR,
)
LLM_COST_PROMPT: Final = _DISPLAY.attribute(
    "llm.cost.prompt", "Cost of the prompt.", COLLECTOR, unit="{USD}"
)
LLM_COST_COMPLETION: Final = _DISPLAY.attribute(
    "llm.cost.completion", "Cost of the answer.", COLLECTOR, unit="{USD}"
)
LLM_COST_TOTAL: Final = _DISPLAY.attribute(
    "llm.cost.total", "Cost of the call.", COLLECTOR, unit="{USD}"
)
LLM_REASONING_TOKENS: Final = _DISPLAY.attribute(
    "llm.token_count.completion_details.reasoning",
    "Generated reasoning tokens, by OpenInference's name.",
    VLLM,
    COLLECTOR,
    unit="{token}",
)

# ── GenAI spans ──────────────────────────────────────────────────────────────────────────
_CALLS: Final = Group("Model calls, retrieval and tools")
OPERATION: Final = _CALLS.attribute(
    "gen_ai.operation.name",
    "Operation: chat, text_completion, embeddings, retrieval, execute_tool and so on.",
    VLLM,
    CLIENTS,
    COLLECTOR,
)
PROVIDER: Final = _CALLS.attribute(
    "gen_ai.provider.name", "Who serves the model, for example vllm.", VLLM, COLLECTOR
)
PROVIDER_VLLM: Final = "vllm"
REQUEST_MODEL: Final = _CALLS.attribute(
    "gen_ai.request.model", "Model that the client asked for.", VLLM, COLLECTOR
)
RESPONSE_MODEL: Final = _CALLS.attribute(
    "gen_ai.response.model", "Model that answered.", VLLM, COLLECTOR
)
RESPONSE_ID: Final = _CALLS.attribute(
    "gen_ai.response.id", "Id of the answer, for example chatcmpl-….", VLLM, APPS
)
FINISH_REASONS: Final = _CALLS.attribute(
    "gen_ai.response.finish_reasons",
    "Why each choice finished: stop, length, tool_calls and so on.",
    VLLM,
    COLLECTOR,
)
REQUEST_STREAM: Final = _CALLS.attribute(
    "gen_ai.request.stream", "Whether the answer is a stream.", VLLM, COLLECTOR
)
REQUEST_MAX_TOKENS: Final = _CALLS.attribute(
    "gen_ai.request.max_tokens", "Maximum of tokens to generate.", VLLM, COLLECTOR, unit="{token}"
)
REQUEST_TEMPERATURE: Final = _CALLS.attribute(
    "gen_ai.request.temperature", "Sampling temperature.", VLLM, APPS
)
REQUEST_TOP_P: Final = _CALLS.attribute(
    "gen_ai.request.top_p", "Probability mass of nucleus sampling.", VLLM, APPS
)
REQUEST_TOP_K: Final = _CALLS.attribute(
    "gen_ai.request.top_k", "Number of likeliest tokens that are sampled from.", VLLM, COLLECTOR
)
REQUEST_CHOICES: Final = _CALLS.attribute(
    "gen_ai.request.choice.count",
    "Choices that the client asked for (n).",
    VLLM,
    COLLECTOR,
    unit="{choice}",
)
REQUEST_SEED: Final = _CALLS.attribute(
    "gen_ai.request.seed", "Seed of the sampling.", VLLM, COLLECTOR
)
REQUEST_FREQUENCY_PENALTY: Final = _CALLS.attribute(
    "gen_ai.request.frequency_penalty",
    "Penalty on tokens by how often they occurred.",
    VLLM,
    COLLECTOR,
)
REQUEST_PRESENCE_PENALTY: Final = _CALLS.attribute(
    "gen_ai.request.presence_penalty", "Penalty on tokens that occurred.", VLLM, COLLECTOR
)
OUTPUT_TYPE: Final = _CALLS.attribute(
    "gen_ai.output.type", "What the client asked for: text or json.", VLLM, APPS
)
REQUEST_ENCODINGS: Final = _CALLS.attribute(
    "gen_ai.request.encoding_formats", "Forms of the vectors that the client asked for.", VLLM, APPS
)
EMBEDDING_DIMENSIONS: Final = _CALLS.attribute(
    "gen_ai.embeddings.dimension.count", "Dimensions that the client asked for.", VLLM, APPS
)
CONVERSATION_ID: Final = _CALLS.attribute(
    "gen_ai.conversation.id", "Conversation that the call belongs to.", VLLM, APPS
)
REQUEST_STOP: Final = _CALLS.attribute(
    "gen_ai.request.stop_sequences", "Texts that end the generation.", VLLM, COLLECTOR, APPS
)
INPUT_TOKENS: Final = _CALLS.attribute(
    "gen_ai.usage.input_tokens",
    "Prompt tokens, cached ones included.",
    VLLM,
    COLLECTOR,
    unit="{token}",
)
OUTPUT_TOKENS: Final = _CALLS.attribute(
    "gen_ai.usage.output_tokens",
    "Generated tokens, reasoning included.",
    VLLM,
    COLLECTOR,
    unit="{token}",
)
CACHED_TOKENS: Final = _CALLS.attribute(
    "gen_ai.usage.cache_read.input_tokens",
    "Prompt tokens whose KV came from the prefix cache.",
    VLLM,
    COLLECTOR,
    unit="{token}",
)
CACHE_WRITE_TOKENS: Final = _CALLS.attribute(
    "gen_ai.usage.cache_creation.input_tokens",
    "Prompt tokens written to the provider's cache.",
    VLLM,
    COLLECTOR,
    APPS,
    unit="{token}",
)
REASONING_TOKENS: Final = _CALLS.attribute(
    "gen_ai.usage.reasoning.output_tokens",
    "Generated reasoning tokens.",
    VLLM,
    COLLECTOR,
    unit="{token}",
)
TOTAL_TOKENS: Final = _CALLS.attribute(
    "gen_ai.usage.total_tokens",
    "Tokens of the call, where input and output tokens alone do not say it.",
    COLLECTOR,
    unit="{token}",
)
OTHER_USAGE: Final = "sidelight.usage.other."
"""What precedes the rest of a name of `gen_ai.usage.*` that Langfuse would add to the total."""
INPUT_MESSAGES: Final = _CALLS.attribute(
    "gen_ai.input.messages",
    "Messages of the prompt, as JSON in the parts schema.",
    VLLM,
    COLLECTOR,
    sensitive=True,
)
USAGE_COST: Final = _CALLS.attribute(
    "gen_ai.usage.cost",
    "Cost of the call, as OpenLIT and Langfuse read it.",
    COLLECTOR,
    unit="{USD}",
)
SYSTEM_INSTRUCTIONS: Final = _CALLS.attribute(
    "gen_ai.system_instructions",
    "System prompt apart from the messages, as JSON.",
    APPS,
    sensitive=True,
)
OUTPUT_MESSAGES: Final = _CALLS.attribute(
    "gen_ai.output.messages",
    "Messages of the answer, as JSON in the parts schema. Phoenix drops them all if one has no "
    "finish_reason.",
    VLLM,
    COLLECTOR,
    sensitive=True,
)
RETRIEVAL_TOP_K: Final = _CALLS.attribute(
    "gen_ai.retrieval.top_k",
    "Documents that the client asked for.",
    CLIENTS,
    COLLECTOR,
    unit="{document}",
)
RETRIEVAL_QUERY: Final = _CALLS.attribute(
    "gen_ai.retrieval.query.text", "Text of the query.", CLIENTS, COLLECTOR, sensitive=True
)
RETRIEVAL_DOCUMENTS: Final = _CALLS.attribute(
    "gen_ai.retrieval.documents",
    "Documents found, as one JSON list of {id, score, content?, metadata?}.",
    CLIENTS,
    COLLECTOR,
    sensitive=True,
)
TOOL_DEFINITIONS: Final = _CALLS.attribute(
    "gen_ai.tool.definitions",
    "Tools that the model may call, as the request has them, in JSON.",
    VLLM,
    APPS,
    sensitive=True,
)
TOOL_ARGUMENTS: Final = _CALLS.attribute(
    "gen_ai.tool.call.arguments",
    "Arguments of the tool call, as JSON.",
    COLLECTOR,
    APPS,
    sensitive=True,
)
TOOL_RESULT: Final = _CALLS.attribute(
    "gen_ai.tool.call.result", "Result of the tool call.", COLLECTOR, APPS, sensitive=True
)
TOOL_NAME: Final = _CALLS.attribute("gen_ai.tool.name", "Name of the tool.", COLLECTOR, APPS)

# ── HTTP ─────────────────────────────────────────────────────────────────────────────────
_NETWORK: Final = Group("HTTP and network")
HTTP_METHOD: Final = _NETWORK.attribute("http.request.method", "HTTP method.", VLLM)
HTTP_ROUTE: Final = _NETWORK.attribute("http.route", "Path of the inference route.", VLLM)
HTTP_STATUS: Final = _NETWORK.attribute(
    "http.response.status_code", "HTTP status of the answer.", VLLM
)
PEER_SERVICE: Final = _NETWORK.attribute(
    "peer.service", "Name of the service at the other end.", COLLECTOR
)
NETWORK_PEER_ADDRESS: Final = _NETWORK.attribute(
    "network.peer.address", "Address of the other end.", COLLECTOR
)
NETWORK_PEER_PORT: Final = _NETWORK.attribute(
    "network.peer.port", "Port of the other end.", COLLECTOR
)
NETWORK_LOCAL_ADDRESS: Final = _NETWORK.attribute(
    "network.local.address", "Address of this end.", COLLECTOR
)
NETWORK_LOCAL_PORT: Final = _NETWORK.attribute("network.local.port", "Port of this end.", COLLECTOR)
SERVER_ADDRESS: Final = _NETWORK.attribute(
    "server.address", "Host of the server.", CLIENTS, COLLECTOR
)
SERVER_PORT: Final = _NETWORK.attribute("server.port", "Port of the server.", CLIENTS, COLLECTOR)
ERROR_TYPE: Final = _NETWORK.attribute(
    "error.type",
    "Class of the error, the HTTP status as text, client_disconnect, engine_abort, or "
    "server_ended.",
    VLLM,
    CLIENTS,
    APPS,
)
CLIENT_DISCONNECT: Final = "client_disconnect"
"""error.type of a request whose client left before the answer was complete."""
ENGINE_ABORT: Final = "engine_abort"
"""error.type of a request that the engine aborted while its client waited."""
SERVER_ENDED: Final = "server_ended"
"""error.type of a request whose API server ended, or was killed, before the answer was sent."""

# ── labels ───────────────────────────────────────────────────────────────────────────────
_LABELS: Final = Group("Labels of metrics", COLLECTOR)
OUTCOME: Final = _LABELS.attribute("outcome", "How a search ended: found, empty, error or unknown.")
RECORDS_ACTION: Final = _LABELS.attribute(
    "action", "What happened to records: returned, written or deleted."
)
SCORE_SCALE: Final = _LABELS.attribute(
    "scale", "What scores are measured in: a metric type (COSINE, L2 and so on) or a ranker."
)
DELAY_CAUSE: Final = _LABELS.attribute(
    "cause",
    "Where time went: frontend, queue, kv_transfer, prefill, interference, preemption, "
    "batch_growth, decode or delivery.",
)
TOKEN_TYPE: Final = _LABELS.attribute(
    "gen_ai.token.type",
    "Type of tokens: input, output, cached (a part of input) or reasoning (a part of output).",
)
CURRENCY: Final = _LABELS.attribute("currency", "Currency of a cost, ISO 4217.")
