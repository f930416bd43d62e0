"""The inference routes of vLLM's API server, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Any, Final, Literal

Dialect = Literal[
    "chat", "completion", "responses", "messages", "pooling", "realtime", "other", "any"
]
"""The API of a route. Under `any` the request says by what it holds which API it means."""


@dataclass(frozen=True, slots=True)
class InferenceRoute:
    """One inference route. `kind` is the OpenInference span kind."""

    path: str
    operation: str
    kind: str
    dialect: Dialect
    method: str = "POST"


_CHAT: Final = "chat"
_TEXT: Final = "text_completion"
_EMBED: Final = "embeddings"
_RERANK: Final = "rerank"

ROUTES: Final[dict[str, InferenceRoute]] = {
    route.path: route
    for route in (
        InferenceRoute("/v1/chat/completions", _CHAT, "LLM", "chat"),
        InferenceRoute("/v1/chat/completions/batch", _CHAT, "LLM", "chat"),
        InferenceRoute("/v1/completions", _TEXT, "LLM", "completion"),
        InferenceRoute("/v1/responses", _CHAT, "LLM", "responses"),
        InferenceRoute("/v1/messages", _CHAT, "LLM", "messages"),
        InferenceRoute("/cohere/v2/chat", _CHAT, "LLM", "messages"),
        InferenceRoute("/inference/v1/generate", "generate_content", "LLM", "other"),
        InferenceRoute("/v1/embeddings", _EMBED, "EMBEDDING", "pooling"),
        InferenceRoute("/v2/embed", _EMBED, "EMBEDDING", "pooling"),
        InferenceRoute("/pooling", "pooling", "EMBEDDING", "pooling"),
        InferenceRoute("/classify", "classify", "CHAIN", "pooling"),
        InferenceRoute("/score", "score", "RERANKER", "pooling"),
        InferenceRoute("/v1/score", "score", "RERANKER", "pooling"),
        InferenceRoute("/rerank", _RERANK, "RERANKER", "pooling"),
        InferenceRoute("/v1/rerank", _RERANK, "RERANKER", "pooling"),
        InferenceRoute("/v2/rerank", _RERANK, "RERANKER", "pooling"),
        InferenceRoute("/generative_scoring", "score", "RERANKER", "pooling"),
        InferenceRoute("/v1/systemone", "classify", "LLM", "other"),
        InferenceRoute("/invocations", _CHAT, "LLM", "any"),
        InferenceRoute("/v1/audio/transcriptions", "transcription", "LLM", "other"),
        InferenceRoute("/v1/audio/translations", "translation", "LLM", "other"),
        InferenceRoute("/v1/realtime", "transcription", "LLM", "realtime", method="GET"),
    )
}


# The routes that vLLM answers /invocations with, by how the ids in their answers begin, and by
# what their requests hold where there is no answer.
_INVOKED_BY_ID: Final = {
    "chatcmpl-": "/v1/chat/completions",
    "cmpl-": "/v1/completions",
    "embd-": "/v1/embeddings",
    "classify-": "/classify",
    "score-": "/score",
    "pooling-": "/pooling",
}
_INVOKED_BY_KEYS: Final = (
    (frozenset({"messages"}), "/v1/chat/completions"),
    (frozenset({"prompt"}), "/v1/completions"),
    (frozenset({"query", "documents"}), "/rerank"),
    (frozenset({"queries"}), "/score"),
    (frozenset({"text_1"}), "/score"),
    (frozenset({"data_1"}), "/score"),
    (frozenset({"input"}), "/v1/embeddings"),
)


def invoked_by_keys(keys: Set[str]) -> str | None:
    """The path of the route that a request to /invocations with these keys is meant for."""
    return next((path for needed, path in _INVOKED_BY_KEYS if needed <= keys), None)


def invoked(answer_id: str | None, meant: str | None) -> str | None:
    """The path of the route that answered /invocations, by the id of its answer.

    Without an id it is the one that the request was `meant` for. Ids do not tell ranking from
    scoring.
    """
    for start, path in _INVOKED_BY_ID.items():
        if answer_id is not None and answer_id.startswith(start):
            return meant if (path, meant) == ("/score", "/rerank") else path
    return meant


def serves_vllm(routes: Iterable[Any]) -> bool:
    """Whether an application's routes are those of vLLM's API server.

    True if a function of the `vllm` package answers an inference path. Another application in
    the same process may offer `/v1/completions` too.
    """
    return any(
        path in ROUTES and getattr(endpoint, "__module__", "").partition(".")[0] == "vllm"
        for path, endpoint in _endpoints(routes)
    )


def _endpoints(
    routes: Iterable[Any], depth: int = 3
) -> Iterator[tuple[str, Callable[..., Any] | None]]:
    for route in routes:
        yield getattr(route, "path", ""), getattr(route, "endpoint", None)
        nested = getattr(route, "routes", None)
        if nested and depth:
            yield from _endpoints(nested, depth - 1)
