"""Parses requests: the model, the parameters, and how many sequences they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.parse.facts import Json, RequestFacts
from sidelight.instrumentation.vllm.parse.forms import is_form, read_form
from sidelight.instrumentation.vllm.parse.values import (
    mapping_of,
    name_of,
    number_of,
    read_cut_object,
    read_object,
)
from sidelight.instrumentation.vllm.routes import Dialect, invoked_by_keys

PARAMETERS: Final = {
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "max_completion_tokens": names.REQUEST_MAX_TOKENS,
    "max_output_tokens": names.REQUEST_MAX_TOKENS,
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "top_k": names.REQUEST_TOP_K,
    "seed": names.REQUEST_SEED,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
    "dimensions": names.EMBEDDING_DIMENSIONS,
    "output_dimension": names.EMBEDDING_DIMENSIONS,
}
_OUTPUT_TYPES: Final = {"text": "text", "json_object": "json", "json_schema": "json"}
_ENCODINGS: Final = frozenset({"float", "base64", "bytes", "bytes_only", "int8", "uint8", "binary",
                               "ubinary"})  # fmt: skip
# What a text, a list of texts and a list of token ids are given as, in the APIs that pool.
_POOLED: Final = ("input", "texts", "images", "inputs", "items", "questions")
_SCORED: Final = (("query", "documents"), ("queries", "documents"), ("queries", "items"),
                  ("text_1", "text_2"), ("data_1", "data_2"))  # fmt: skip
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([^"\\]{1,256})"')
_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_MAX_HEAD_BYTES: Final = 4096
MAX_STOP_SEQUENCES: Final = 16


def read_request(
    chunks: Sequence[bytes], whole: bool, dialect: Dialect, keep: bool
) -> RequestFacts:
    """The facts of a request body. Facts are empty if it is not the expected JSON or form.

    `whole` is False if the cap cut the body off. `keep` keeps the parsed body for content.
    """
    raw = b"".join(chunks)
    if is_form(raw):
        body: Json | None = read_form(raw)
    else:
        body = read_object(raw) if whole else read_cut_object(raw)
    if not body:
        head = raw[:_MAX_HEAD_BYTES]
        return RequestFacts(model=first_match(_MODEL, head), stream=bool(_STREAM.search(head)))
    # /inference/v1/generate has the parameters in an object of their own.
    nested = mapping_of(body.get("sampling_params"))
    parameters = {**body, **nested} if nested else body
    return RequestFacts(
        model=name_of(body.get("model")),
        stream=body.get("stream") is True,
        choices=_choices(parameters),
        prompts=_prompts(body, dialect),
        user=name_of(body.get("user")) or name_of(mapping_of(body.get("metadata")).get("user_id")),
        session=name_of(body.get("session_id")),
        background=dialect == "responses" and body.get("background") is True,
        invoked=invoked_by_keys(body.keys()) if dialect == "any" else None,
        attributes=_attributes(parameters, keep),
        body=body if keep else None,
        is_cut=not whole,
    )


def first_match(pattern: re.Pattern[bytes], head: bytes) -> str | None:
    """The first group of the first match, as text."""
    match = pattern.search(head)
    return match[1].decode("utf-8", "replace") if match else None


def _attributes(body: Json, keep: bool) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        name: value
        for key, name in PARAMETERS.items()
        if (value := number_of(body.get(key))) is not None
    }
    if (choices := _choices(body)) > 1:
        attributes[names.REQUEST_CHOICES] = choices
    if output_type := _output_type(body):
        attributes[names.OUTPUT_TYPE] = output_type
    encodings = body.get("embedding_types") or [body.get("encoding_format")]
    if isinstance(encodings, list) and (
        known := [name for name in encodings if isinstance(name, str) and name in _ENCODINGS]
    ):
        attributes[names.REQUEST_ENCODINGS] = tuple(known)
    # A client can write anything there, even a prompt.
    if keep and (stops := _stop_sequences(body)):
        attributes[names.REQUEST_STOP] = stops
    return attributes


def _choices(body: Json) -> int:
    choices = body.get("n")
    return choices if isinstance(choices, int) and choices > 1 else 1


def _output_type(body: Json) -> str | None:
    """What the client asked for: chat's `response_format`, Responses' `text.format` and others."""
    asked = (
        body.get("response_format"),
        mapping_of(body.get("text")).get("format"),
        mapping_of(body.get("output_config")).get("format"),
    )
    for given in asked:
        kind = given.get("type") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind in _OUTPUT_TYPES:
            return _OUTPUT_TYPES[kind]
    return "json" if mapping_of(body.get("structured_outputs")).get("json") else None


def _stop_sequences(body: Json) -> tuple[str, ...]:
    given = body.get("stop") or body.get("stop_sequences")
    texts = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    stops = (name_of(text) for text in texts[:MAX_STOP_SEQUENCES])
    return tuple(stop for stop in stops if stop)


def _prompts(body: Json, dialect: Dialect) -> int:
    count = _PROMPTS.get(dialect)
    return max(1, count(body)) if count else 1


def _batch(prompt: object) -> int:
    # A list of texts or of token lists is a batch. A list of tokens is one prompt.
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return len(prompt)
    return 1


def _chats(body: Json) -> int:
    chats = body.get("messages")
    return _batch(chats) if isinstance(chats, list) and chats and isinstance(chats[0], list) else 1


def _completions(body: Json) -> int:
    return _batch(body.get("prompt"))


def _pooled(body: Json) -> int:
    for first, second in _SCORED:
        if first in body and second in body:
            return max(_batch(body[first]), _batch(body[second]))
    for key in _POOLED:
        if body.get(key):
            given = body[key]
            return len(given) if isinstance(given, dict) else _batch(given)
    return _chats(body)


_PROMPTS: Final[Mapping[str, Callable[[Json], int]]] = {
    "chat": _chats,
    "completion": _completions,
    "pooling": _pooled,
    "other": _pooled,
    "any": lambda body: _completions(body) if "prompt" in body else _pooled(body),
}
