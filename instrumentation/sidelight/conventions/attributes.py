"""Attributes of spans and resources, and labels of metrics.

Those of the engine and of vector databases have modules of their own.
"""

from __future__ import annotations

from typing import Final

from sidelight.conventions.definitions import attribute

# ── scopes: who made a span ──────────────────────────────────────────────────────────────
# The collector passes spans of these scopes on unopened: they are canonical already.
SCOPE_VLLM: Final = "sidelight.instrumentation.vllm"
SCOPE_VECTORDB: Final = "sidelight.instrumentation.vectordb"
# vLLM's own tracer (`--otlp-traces-endpoint`), made canonical by the collector.
SCOPE_VLLM_BUILTIN: Final = "vllm.tracing.otel"
# The same tracer in older versions of vLLM.
SCOPE_VLLM_BUILTIN_OLD: Final = "vllm.llm_engine"

# ── resource ─────────────────────────────────────────────────────────────────────────────
SERVICE_NAME: Final = attribute("service.name", "Name of the service that emits.")
SERVICE_VERSION: Final = attribute("service.version", "Version of the service that emits.")
SERVICE_INSTANCE_ID: Final = attribute("service.instance.id", "One running instance of it.")
HOST_NAME: Final = attribute("host.name", "Name of the host it runs on.")
DEPLOYMENT_ENVIRONMENT: Final = attribute(
    "deployment.environment.name",
    "Deployment tier; Langfuse accepts [a-z0-9-_], at most 40 characters.",
)
PROJECT_NAME: Final = attribute("openinference.project.name", "Project the trace belongs to.")

# ── display: OpenInference and Langfuse ──────────────────────────────────────────────────
SPAN_KIND: Final = attribute(
    "openinference.span.kind",
    "CHAIN, AGENT, TOOL, LLM, RETRIEVER, EMBEDDING, RERANKER, GUARDRAIL or EVALUATOR, upper case.",
)
SESSION_ID: Final = attribute("session.id", "Session the span belongs to.")
USER_ID: Final = attribute("user.id", "End user the span belongs to.")
INPUT_VALUE: Final = attribute("input.value", "What went in.", sensitive=True)
INPUT_MIME_TYPE: Final = attribute("input.mime_type", "MIME type of input.value.")
OUTPUT_VALUE: Final = attribute("output.value", "What came out.", sensitive=True)
OUTPUT_MIME_TYPE: Final = attribute("output.mime_type", "MIME type of output.value.")
TAGS: Final = attribute("tag.tags", "Tags of the trace.")
LANGFUSE_TRACE_NAME: Final = attribute("langfuse.trace.name", "Name of the trace in Langfuse.")
LANGFUSE_COMPLETION_START: Final = attribute(
    "langfuse.observation.completion_start_time",
    "Absolute ISO time of the first token: the only way to a time-to-first-token in Langfuse.",
)
LANGFUSE_APP_ROOT: Final = attribute(
    "langfuse.internal.is_app_root",
    "The span is the topmost that Langfuse gets, though it has a parent elsewhere.",
)
LANGFUSE_COST: Final = attribute(
    "langfuse.observation.cost_details", "Cost as Langfuse reads it: JSON of input, output, total."
)
LLM_COST_PROMPT: Final = attribute("llm.cost.prompt", "Cost of the prompt.", unit="{USD}")
LLM_COST_COMPLETION: Final = attribute("llm.cost.completion", "Cost of the answer.", unit="{USD}")
LLM_COST_TOTAL: Final = attribute("llm.cost.total", "Cost of the call.", unit="{USD}")
LLM_REASONING_TOKENS: Final = attribute(
    "llm.token_count.completion_details.reasoning",
    "Reasoning tokens, in OpenInference's name.",
    unit="{token}",
)

# ── GenAI spans ──────────────────────────────────────────────────────────────────────────
OPERATION: Final = attribute(
    "gen_ai.operation.name", "chat, text_completion, embeddings, retrieval or execute_tool."
)
PROVIDER: Final = attribute("gen_ai.provider.name", "Who serves the model, for instance vllm.")
PROVIDER_VLLM: Final = "vllm"
REQUEST_MODEL: Final = attribute("gen_ai.request.model", "Model the client asked for.")
RESPONSE_MODEL: Final = attribute("gen_ai.response.model", "Model that answered.")
RESPONSE_ID: Final = attribute("gen_ai.response.id", "Id of the answer, for instance chatcmpl-…")
FINISH_REASONS: Final = attribute(
    "gen_ai.response.finish_reasons", "Why each choice ended: stop, length, tool_calls, …"
)
REQUEST_STREAM: Final = attribute("gen_ai.request.stream", "Whether the answer was streamed.")
REQUEST_MAX_TOKENS: Final = attribute(
    "gen_ai.request.max_tokens", "Most tokens to generate.", unit="{token}"
)
REQUEST_TEMPERATURE: Final = attribute("gen_ai.request.temperature", "Sampling temperature.")
REQUEST_TOP_P: Final = attribute("gen_ai.request.top_p", "Nucleus sampling share.")
REQUEST_TOP_K: Final = attribute("gen_ai.request.top_k", "Sampling among the k likeliest tokens.")
REQUEST_CHOICES: Final = attribute("gen_ai.request.choice.count", "Choices asked for (n).")
REQUEST_SEED: Final = attribute("gen_ai.request.seed", "Seed of the sampling.")
REQUEST_FREQUENCY_PENALTY: Final = attribute(
    "gen_ai.request.frequency_penalty", "Penalty on frequent tokens."
)
REQUEST_PRESENCE_PENALTY: Final = attribute(
    "gen_ai.request.presence_penalty", "Penalty on present tokens."
)
CONVERSATION_ID: Final = attribute("gen_ai.conversation.id", "Conversation the call belongs to.")
REQUEST_STOP: Final = attribute("gen_ai.request.stop_sequences", "Texts that end the answer.")
INPUT_TOKENS: Final = attribute(
    "gen_ai.usage.input_tokens", "Prompt tokens, cached ones included.", unit="{token}"
)
OUTPUT_TOKENS: Final = attribute(
    "gen_ai.usage.output_tokens", "Generated tokens, reasoning included.", unit="{token}"
)
CACHED_TOKENS: Final = attribute(
    "gen_ai.usage.cache_read.input_tokens",
    "Prompt tokens whose KV came from the prefix cache.",
    unit="{token}",
)
CACHE_WRITE_TOKENS: Final = attribute(
    "gen_ai.usage.cache_creation.input_tokens",
    "Prompt tokens written to a provider's cache.",
    unit="{token}",
)
REASONING_TOKENS: Final = attribute(
    "gen_ai.usage.reasoning.output_tokens", "Generated tokens of reasoning.", unit="{token}"
)
INPUT_MESSAGES: Final = attribute(
    "gen_ai.input.messages", "Prompt messages, JSON in the parts schema.", sensitive=True
)
USAGE_COST: Final = attribute(
    "gen_ai.usage.cost", "Cost of the call, as OpenLIT and Langfuse know it.", unit="{USD}"
)
SYSTEM_INSTRUCTIONS: Final = attribute(
    "gen_ai.system_instructions", "System prompt apart from the messages, JSON.", sensitive=True
)
OUTPUT_MESSAGES: Final = attribute(
    "gen_ai.output.messages",
    "Answer messages, JSON in the parts schema; finish_reason on every one or Phoenix drops all.",
    sensitive=True,
)
RETRIEVAL_TOP_K: Final = attribute("gen_ai.retrieval.top_k", "Documents asked for.")
RETRIEVAL_QUERY: Final = attribute(
    "gen_ai.retrieval.query.text", "Text that was searched for.", sensitive=True
)
RETRIEVAL_DOCUMENTS: Final = attribute(
    "gen_ai.retrieval.documents",
    "Documents found, one JSON list of {id, score, content?, metadata?}.",
    sensitive=True,
)
TOOL_ARGUMENTS: Final = attribute(
    "gen_ai.tool.call.arguments", "What a tool was called with, JSON.", sensitive=True
)
TOOL_RESULT: Final = attribute("gen_ai.tool.call.result", "What a tool answered.", sensitive=True)
TOOL_NAME: Final = attribute("gen_ai.tool.name", "The tool that was called.")

# ── HTTP ─────────────────────────────────────────────────────────────────────────────────
HTTP_METHOD: Final = attribute("http.request.method", "HTTP method.")
HTTP_ROUTE: Final = attribute("http.route", "Route that matched.")
HTTP_STATUS: Final = attribute("http.response.status_code", "HTTP status.")
PEER_SERVICE: Final = attribute("peer.service", "Service at the other end.")
NETWORK_PEER_ADDRESS: Final = attribute("network.peer.address", "Address of the other end.")
NETWORK_PEER_PORT: Final = attribute("network.peer.port", "Port of the other end.")
NETWORK_LOCAL_ADDRESS: Final = attribute("network.local.address", "Address of this end.")
NETWORK_LOCAL_PORT: Final = attribute("network.local.port", "Port of this end.")
SERVER_ADDRESS: Final = attribute("server.address", "Host of the server.")
SERVER_PORT: Final = attribute("server.port", "Port of the server.")
# Labels of the collector's own metrics.
OUTCOME: Final = attribute("outcome", "How it ended: found, empty, error or unknown.")
RECORDS_ACTION: Final = attribute("action", "returned, written or deleted.")
SCORE_SCALE: Final = attribute(
    "scale", "What scores are measured in: a metric type (COSINE, L2, …) or a ranker."
)
DELAY_CAUSE: Final = attribute(
    "cause", "queue, prefill, decode, interference, preemption or outside."
)
TOKEN_TYPE: Final = attribute(
    "gen_ai.token.type", "input and output; cached is a part of input, reasoning of output."
)
CURRENCY: Final = attribute("currency", "Currency of a cost, ISO 4217.")
ERROR_TYPE: Final = attribute("error.type", "Class of the error, or the HTTP status as text.")
