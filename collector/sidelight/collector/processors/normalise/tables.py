"""What other instrumentations call things, and what it is called here: tables, read as data.

The names were read in the sources and in recorded spans of vLLM (0.5 to 0.33), OpenLLMetry
(to 0.62), OpenLIT 1.45, OpenInference 0.1, Langfuse's SDK 5, and in the older GenAI and
database conventions. What the backends read was looked up in Phoenix 20 and Langfuse 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType

from sidelight import conventions as c
from sidelight.collector.processors.normalise.spellings import Names
from sidelight.instrumentation.vectordb.registry import DATABASES
from sidelight.otlp.remember import remembered


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """How the spans of some instrumentation become canonical."""

    name: str
    scopes: tuple[str, ...] = ()
    """Instrumentation scopes whose every span is opened: these, and what continues them with a
    point."""
    hints: tuple[bytes, ...] = ()
    """Of other scopes only spans whose bytes hold one of these are opened."""
    moves: Names = field(default_factory=dict)
    """Foreign name to ours. Where ours is there already the foreign one goes."""
    patterns: tuple[tuple[str, str, str], ...] = ()
    """The same for names made of a beginning, anything, and an end."""
    copies: Names = field(default_factory=dict)
    """Foreign name to ours, where a backend needs the foreign one too."""
    drops: frozenset[str] = frozenset()
    """Totals that go where their parts are known: a backend may count them a second time."""
    kind_name: str = ""
    """A name whose value tells the kind of a span that names no operation, by `kinds`."""
    kinds: Names = field(default_factory=dict)
    is_engine: bool = False
    """Whether these are the engine's own spans, below those of the client."""


# ── names ────────────────────────────────────────────────────────────────────────────────

_OLD_GENAI: Names = MappingProxyType(
    {
        "gen_ai.system": c.PROVIDER,
        "gen_ai.usage.prompt_tokens": c.INPUT_TOKENS,
        "gen_ai.usage.completion_tokens": c.OUTPUT_TOKENS,
        "gen_ai.usage.cache_read_input_tokens": c.CACHED_TOKENS,
        "gen_ai.usage.cache_creation_input_tokens": c.CACHE_WRITE_TOKENS,
        "gen_ai.usage.reasoning_tokens": c.REASONING_TOKENS,
        "gen_ai.request.n": c.REQUEST_CHOICES,
        "gen_ai.request.is_stream": c.REQUEST_STREAM,
        "gen_ai.openai.request.seed": c.REQUEST_SEED,
        "gen_ai.request.max_completion_tokens": c.REQUEST_MAX_TOKENS,
        "gen_ai.response.finish_reason": c.FINISH_REASONS,
        "gen_ai.request.user": c.USER_ID,
        "gen_ai.retrieval.query": c.RETRIEVAL_QUERY,
        "gen_ai.prompt": c.INPUT_VALUE,
        "gen_ai.completion": c.OUTPUT_VALUE,
        "enduser.id": c.USER_ID,
    }
)
# Said by input and output tokens, and a second total in Langfuse where it is unknown.
_TOTALS = frozenset({"gen_ai.usage.total_tokens", "llm.usage.total_tokens"})
_OLD_DATABASE: Names = MappingProxyType(
    {
        "db.system": c.DB_SYSTEM,
        "db.operation": c.DB_OPERATION,
        "db.name": c.DB_NAMESPACE,
        "db.statement": c.DB_QUERY_TEXT,
        "db.sql.table": c.DB_COLLECTION,
        "net.peer.name": c.SERVER_ADDRESS,
        "net.peer.port": c.SERVER_PORT,
    }
)
_OPENINFERENCE: Names = MappingProxyType(
    {
        "llm.model_name": c.RESPONSE_MODEL,
        "llm.request.model_name": c.REQUEST_MODEL,
        "llm.response.model_name": c.RESPONSE_MODEL,
        "llm.provider": c.PROVIDER,
        "llm.system": c.PROVIDER,
        "llm.token_count.prompt": c.INPUT_TOKENS,
        "llm.token_count.completion": c.OUTPUT_TOKENS,
        "llm.token_count.prompt_details.cache_read": c.CACHED_TOKENS,
        "llm.token_count.prompt_details.cache_write": c.CACHE_WRITE_TOKENS,
        "llm.finish_reason": c.FINISH_REASONS,
        "embedding.model_name": c.REQUEST_MODEL,
        "reranker.model_name": c.REQUEST_MODEL,
    }
)
_OPENINFERENCE_COPIES: Names = MappingProxyType(
    {c.LLM_REASONING_TOKENS: c.REASONING_TOKENS, "tool.name": c.TOOL_NAME}
)
_OPENINFERENCE_TOTALS = frozenset({"llm.token_count.total"})
_TRACELOOP: Names = MappingProxyType(
    {
        "traceloop.entity.input": c.INPUT_VALUE,
        "traceloop.entity.output": c.OUTPUT_VALUE,
        "traceloop.association.properties.session_id": c.SESSION_ID,
        "traceloop.association.properties.user_id": c.USER_ID,
    }
)
_TRACELOOP_KINDS: Names = MappingProxyType(
    {"workflow": "CHAIN", "task": "CHAIN", "unknown": "CHAIN", "agent": "AGENT", "tool": "TOOL"}
)


# ── tables ───────────────────────────────────────────────────────────────────────────────

VLLM = Table(
    "vLLM's own tracer",
    scopes=(c.SCOPE_VLLM_BUILTIN, c.SCOPE_VLLM_BUILTIN_OLD),
    # Langfuse adds any unknown gen_ai.usage.* to the token total (51 tokens shown for 50), so
    # none of them may stay.
    moves=MappingProxyType(
        {
            c.VLLM_PROMPT_TOKENS: c.SERVED_INPUT_TOKENS,
            c.VLLM_COMPLETION_TOKENS: c.SERVED_OUTPUT_TOKENS,
            c.VLLM_NUM_SEQUENCES: c.ENGINE_SEQUENCES,
            c.VLLM_REQUEST_ID: c.ENGINE_REQUEST_ID,
            c.VLLM_REQUEST_N: c.REQUEST_CHOICES,
            c.VLLM_LATENCY_E2E: c.E2E_TIME,
            c.VLLM_LATENCY_TTFT: c.TIME_TO_FIRST_TOKEN,
            c.VLLM_LATENCY_QUEUE: c.QUEUE_TIME,
            c.VLLM_LATENCY_PREFILL: c.PREFILL_TIME,
            c.VLLM_LATENCY_DECODE: c.DECODE_TIME,
            c.VLLM_LATENCY_INFERENCE: c.INFERENCE_TIME,
            c.VLLM_LATENCY_SCHEDULER: c.SCHEDULER_TIME,
            c.VLLM_LATENCY_FORWARD: c.FORWARD_TIME,
            c.VLLM_LATENCY_EXECUTE: c.EXECUTE_TIME,
        }
    ),
    is_engine=True,
)

OPENLLMETRY = Table(
    "OpenLLMetry",
    scopes=(
        "traceloop",
        *(
            f"opentelemetry.instrumentation.{library}"
            for library in (
                "agno",
                "alephalpha",
                "anthropic",
                "bedrock",
                "cohere",
                "crewai",
                "google_generativeai",
                "groq",
                "haystack",
                "lancedb",
                "langchain",
                "llamaindex",
                "marqo",
                "mcp",
                "mistralai",
                "ollama",
                "openai",
                "openai_agents",
                "pinecone",
                "replicate",
                "sagemaker",
                "together",
                "transformers",
                "vertexai",
                "voyageai",
                "watsonx",
                "weaviate",
                "writer",
            )
        ),
    ),
    moves=MappingProxyType(
        {
            **_OLD_GENAI,
            **_OLD_DATABASE,
            **_TRACELOOP,
            "llm.request.type": c.OPERATION,
            "llm.is_streaming": c.REQUEST_STREAM,
            "gen_ai.is_streaming": c.REQUEST_STREAM,
            "llm.user": c.USER_ID,
            "gen_ai.user": c.USER_ID,
            "llm.frequency_penalty": c.REQUEST_FREQUENCY_PENALTY,
            "llm.presence_penalty": c.REQUEST_PRESENCE_PENALTY,
            "llm.top_k": c.REQUEST_TOP_K,
            "llm.chat.stop_sequences": c.REQUEST_STOP,
            "llm.response.finish_reason": c.FINISH_REASONS,
            "llm.response.stop_reason": c.FINISH_REASONS,
            "gen_ai.response.stop_reason": c.FINISH_REASONS,
            "llm.usage.reasoning_tokens": c.REASONING_TOKENS,
            "db.vector.query.top_k": c.RETRIEVAL_TOP_K,
            "pinecone.query.top_k": c.RETRIEVAL_TOP_K,
            "pinecone.query.filter": c.DB_FILTER,
            "pinecone.query.namespace": c.DB_NAMESPACE,
        }
    ),
    drops=_TOTALS,
    kind_name="traceloop.span.kind",
    kinds=_TRACELOOP_KINDS,
)

OPENLIT = Table(
    "OpenLIT",
    scopes=("openlit",),
    moves=MappingProxyType(
        {
            **_OLD_GENAI,
            **_OLD_DATABASE,
            "gen_ai.usage.prompt_tokens_details.cached_tokens": c.CACHED_TOKENS,
            "gen_ai.usage.prompt_tokens_details.cache_creation_tokens": c.CACHE_WRITE_TOKENS,
            "gen_ai.usage.completion_tokens_details.reasoning_tokens": c.REASONING_TOKENS,
            "gen_ai.server.time_to_first_token": c.TIME_TO_FIRST_TOKEN,
            "gen_ai.server.time_per_output_token": c.TIME_PER_OUTPUT_TOKEN,
            "gen_ai.content.prompt": c.INPUT_VALUE,
            "gen_ai.content.completion": c.OUTPUT_VALUE,
            "gen_ai.workflow.input": c.INPUT_VALUE,
            "gen_ai.workflow.output": c.OUTPUT_VALUE,
            "gen_ai.tool.input": c.TOOL_ARGUMENTS,
            "gen_ai.tool.args": c.TOOL_ARGUMENTS,
            "gen_ai.tool.output": c.TOOL_RESULT,
            "gen_ai.vectordb.search.query": c.RETRIEVAL_QUERY,
            "db.vector.query.top_k": c.RETRIEVAL_TOP_K,
            "db.n_results": c.RETRIEVAL_TOP_K,
            "db.limit": c.RETRIEVAL_TOP_K,
            "db.filter": c.DB_FILTER,
            "db.vector.query.filter": c.DB_FILTER,
            "db.vector.count": c.DB_BATCH_SIZE,
            "db.search.similarity_metric": c.VECTOR_METRIC_TYPE,
            "db.query.namespace": c.DB_NAMESPACE,
        }
    ),
    drops=_TOTALS,
)

OPENINFERENCE = Table(
    "OpenInference",
    scopes=("openinference",),
    moves=_OPENINFERENCE,
    copies=_OPENINFERENCE_COPIES,
    drops=_OPENINFERENCE_TOTALS,
)

LANGFUSE = Table(
    "Langfuse's SDK",
    scopes=("langfuse-sdk",),
    # Langfuse reads its own names first; Phoenix knows none of them.
    copies=MappingProxyType(
        {
            "langfuse.observation.input": c.INPUT_VALUE,
            "langfuse.observation.output": c.OUTPUT_VALUE,
            "langfuse.observation.model.name": c.REQUEST_MODEL,
        }
    ),
    kind_name="langfuse.observation.type",
    kinds=MappingProxyType(
        {
            "generation": "LLM",
            "span": "CHAIN",
            "event": "CHAIN",
            "chain": "CHAIN",
            "agent": "AGENT",
            "tool": "TOOL",
            "retriever": "RETRIEVER",
            "embedding": "EMBEDDING",
            "guardrail": "GUARDRAIL",
            "evaluator": "EVALUATOR",
        }
    ),
)

PLAIN = Table(
    "plain GenAI and OpenInference names",
    hints=(b"gen_ai.", b"openinference.span.kind"),
    moves=MappingProxyType({**_OLD_GENAI, **_OPENINFERENCE, **_TRACELOOP, **_OLD_DATABASE}),
    copies=_OPENINFERENCE_COPIES,
    drops=_TOTALS | _OPENINFERENCE_TOTALS,
    kind_name="traceloop.span.kind",
    kinds=_TRACELOOP_KINDS,
)


def _with_databases(table: Table) -> Table:
    """`table` with what the descriptions of vector databases add to it."""
    added = [
        spans
        for database in DATABASES
        for spans in database.foreign_spans
        if spans.instrumentation == table.name
    ]
    if not added:
        return table
    scopes = (*table.scopes, *(scope for spans in added for scope in spans.scopes))
    moves = dict(table.moves)
    for spans in added:
        moves.update(spans.renamed)
    return replace(
        table,
        scopes=tuple(dict.fromkeys(scopes)),
        moves=MappingProxyType(moves),
        patterns=(*table.patterns, *(each for spans in added for each in spans.renamed_patterns)),
    )


TABLES = tuple(
    _with_databases(table) for table in (VLLM, OPENLLMETRY, OPENLIT, OPENINFERENCE, LANGFUSE, PLAIN)
)

_OWN_SCOPES = "sidelight."


@remembered(maxsize=1024)
def table_for(scope: str) -> Table | None:
    """The table for the spans of an instrumentation scope; None for Sidelight's own."""
    if scope.startswith(_OWN_SCOPES):
        return None
    for table in TABLES:
        if any(scope == name or scope.startswith(f"{name}.") for name in table.scopes):
            return table
    return PLAIN


@remembered(maxsize=8192)
def target(table: Table, name: str) -> str | None:
    """What a name is called here: another name, or None if it stays."""
    found = table.moves.get(name)
    if found is not None:
        return found
    for start, end, to in table.patterns:
        if name.startswith(start) and name.endswith(end) and len(name) > len(start) + len(end):
            return to
    return None
