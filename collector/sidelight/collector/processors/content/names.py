"""Which attributes, events and log records hold what users and documents said: tables.

Sidelight's own names come from `conventions`; the foreign ones were read in the sources of
OpenLLMetry 0.62, OpenLIT 1.45, OpenInference 0.1, Langfuse's SDK 5, the Vercel AI SDK, MLflow
and Pydantic AI, and in OpenTelemetry's GenAI and database conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from sidelight import conventions as c
from sidelight.instrumentation.vectordb.registry import DATABASES
from sidelight.otlp.remember import remembered

Kind = Literal["text", "documents", "id", "score", "vector"]
"""What a sensitive value is: text of a user, a model or a tool (plain, or JSON with text in
it); documents found (plain, or a JSON list of objects with `id` and `score`); the id or score
of one document; an embedding."""

# Retrievers show the same documents as their output, so output.value may be such a list.
_DOCUMENTS = frozenset({c.RETRIEVAL_DOCUMENTS, c.OUTPUT_VALUE})

# Databases' own content, on other instrumentations' spans.
_FOREIGN_SPANS = [spans for database in DATABASES for spans in database.foreign_spans]

EXACT: Mapping[str, Kind] = MappingProxyType(
    {
        **{
            name: "documents" if name in _DOCUMENTS else "text"
            for name, attribute in c.ATTRIBUTES.items()
            if attribute.sensitive
        },
        **dict.fromkeys(
            (
                # GenAI conventions, also the older ones
                "gen_ai.prompt",
                "gen_ai.completion",
                "gen_ai.system_instructions",
                "gen_ai.tool.definitions",
                "gen_ai.tool.call.arguments",
                "gen_ai.tool.call.result",
                "gen_ai.evaluation.explanation",
                # database conventions, old and new
                "db.query.text",
                "db.statement",
                # OpenLLMetry
                "traceloop.entity.input",
                "traceloop.entity.output",
                "traceloop.prompt.template",
                "traceloop.prompt.template_variables",
                "llm.prompts",
                "llm.completions",
                "llm.headers",
                "gen_ai.headers",
                "mcp.request.argument",
                "mcp.response.value",
                "db.marqo.search.query",
                "pinecone.query.filter",
                # OpenLIT, which writes documents into the query's summary
                "db.query.summary",
                "db.filter",
                "db.metadata",
                "db.vector.query.filter",
                "db.where_document",
                "db.update.metadata",
                "gen_ai.response.tool_calls",
                "gen_ai.agent.step_messages",
                "gen_ai.browser.action.value",
                "gen_ai.framework.text.processed",
                "gen_ai.memory.metadata",
                "mcp.params",
                "mcp.completion.values",
                "mcp.error.data",
                # OpenInference
                "llm.choices",
                "llm.function_call",
                "llm.prompt_template.template",
                "llm.prompt_template.variables",
                "reranker.query",
                "tool.parameters",
                # Langfuse's SDK
                "langfuse.observation.input",
                "langfuse.observation.output",
                "langfuse.trace.input",
                "langfuse.trace.output",
                "langfuse.experiment.item.expected_output",
                # Vercel AI SDK
                "ai.prompt",
                "ai.value",
                "ai.values",
                "ai.response.object",
                "ai.response.reasoning",
                "ai.response.toolCalls",
                "ai.toolCall.args",
                "ai.toolCall.result",
                # MLflow, Pydantic AI
                "mlflow.spanInputs",
                "mlflow.spanOutputs",
                "all_messages_events",
                "pydantic_ai.all_messages",
                "final_result",
                "tool_arguments",
                "tool_response",
                "request_data",
                "response_data",
                *(name for spans in _FOREIGN_SPANS for name in spans.content),
            ),
            "text",
        ),
        **dict.fromkeys(
            ("ai.embedding", "ai.embeddings", "db.update.values", "pinecone.query.queries"),
            "vector",
        ),
        "pinecone.query.id": "id",
    }
)
"""Names that hold content, whatever the type of the value."""

FAMILIES: Mapping[str, Kind] = MappingProxyType(
    {
        "gen_ai.prompt.": "text",
        "gen_ai.completion.": "text",
        "gen_ai.content.": "text",
        "llm.input_messages.": "text",
        "llm.output_messages.": "text",
        "llm.prompts.": "text",
        "llm.completions.": "text",
        "llm.choices.": "text",
        "llm.tools.": "text",
        "llm.request.functions.": "text",
        "input.images.": "text",
        "output.images.": "text",
        "ai.prompt.": "text",
        "db.query.parameter.": "text",
        "db.operation.parameter.": "text",
        "mcp.completion.context.": "text",
        "retrieval.documents.": "documents",
        "input.documents.": "documents",
        "output.documents.": "documents",
        "reranker.input_documents.": "documents",
        "reranker.output_documents.": "documents",
        "embedding.embeddings.": "text",
        # Attributes of the events below
        "db.query.result.": "documents",
        "db.search.result.": "documents",
        "db.query.embeddings.": "vector",
        "db.search.embeddings.": "vector",
    }
)
"""Beginnings of names that hold content."""

_LAST_IN_DOCUMENTS: Mapping[str, Kind] = MappingProxyType(
    {"id": "id", "score": "score", "distance": "score", "vector": "vector"}
)

NAMESPACES = (
    "gen_ai.", "llm.", "mcp.", "ai.", "traceloop.",
    *sorted(name for spans in _FOREIGN_SPANS for name in spans.content_namespaces),
)  # fmt: skip
LAST_SEGMENTS = frozenset(
    {
        "actual_output", "answer", "args", "arguments", "backstory", "body", "completion",
        "content", "context", "data", "documents", "expected_output", "explanation", "filter",
        "final_result", "goal", "human_input", "input", "input_data", "input_kwargs",
        "instruction", "instructions", "message", "messages", "next_goal", "object", "output",
        "output_data", "payload", "prompt", "prompts", "query", "question", "reasoning", "result",
        "results", "task", "text", "thought", "tool_calls", "tool_input", "tool_results", "where",
        "where_document",
    }
)  # fmt: skip
"""In the namespaces above, a text whose name ends so is content; counts and flags are not,
and messages of errors stay, as those of exceptions do."""

EVENTS: Mapping[str, Kind] = MappingProxyType(
    {
        "gen_ai.content.prompt": "text",
        "gen_ai.content.completion": "text",
        "gen_ai.content.reasoning": "text",
        "gen_ai.content.revised_prompt": "text",
        "gen_ai.system.message": "text",
        "gen_ai.user.message": "text",
        "gen_ai.assistant.message": "text",
        "gen_ai.tool.message": "text",
        "gen_ai.choice": "text",
        "gen_ai.client.inference.operation.details": "text",
        "llm.content.completion.chunk": "text",
        "db.query.result": "documents",
        "db.search.result": "documents",
        "db.query.embeddings": "vector",
        "db.search.embeddings": "vector",
    }
)
"""Span events, and log records with this event name, that exist to carry content."""

# What says how a content event or a message is built, not what it says.
STRUCTURE = frozenset(
    {
        "event.name", "finish_reason", "id", "index", "mime_type", "modality", "role", "score",
        "distance", "type", c.PROVIDER, "gen_ai.system",
    }
)  # fmt: skip
"""Keys inside content events and JSON messages that are kept as they are when text is hashed."""

# Each name above holds one of these; a serialised span that holds none has no content.
STEMS = (
    "llm.", "mcp.", "ai.", "db.", "traceloop.", "langfuse.", "input.", "output.", "retrieval.",
    "reranker.", "embedding", "tool", "pinecone.", "mlflow.", "all_messages", "final_result",
    "request_data", "response_data",
)  # fmt: skip


@remembered(maxsize=8192)
def kind_of(name: str) -> Kind | None:
    """What an attribute of any type holds, or None if it is no content by its name alone."""
    kind = EXACT.get(name)
    if kind is not None:
        return kind
    for prefix, kind in FAMILIES.items():
        if name.startswith(prefix):
            last = name.rpartition(".")[2]
            if kind == "documents":
                return _LAST_IN_DOCUMENTS.get(last, kind)
            return "vector" if last == "vector" else kind
    return None


@remembered(maxsize=8192)
def kind_of_text(name: str) -> Kind | None:
    """What an attribute holds whose value is no number; wider than `kind_of`."""
    kind = kind_of(name)
    if kind is None and name.startswith(NAMESPACES) and ".error." not in name:
        last = name.rpartition(".")[2]
        return "text" if last in LAST_SEGMENTS else None
    return kind
