"""Parses answers: ids, tokens, finish reasons and errors, whole or as a stream of events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sidelight.instrumentation.vllm.parse.errors import read_error
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, Json
from sidelight.instrumentation.vllm.parse.finish import finish_reasons
from sidelight.instrumentation.vllm.parse.request import first_match
from sidelight.instrumentation.vllm.parse.stream import StreamedAnswer
from sidelight.instrumentation.vllm.parse.values import (
    count_of,
    mapping_of,
    name_of,
    read_cut_object,
    read_object,
)

_ID_AT_HEAD: Final = re.compile(rb'"(?:id|request_id)"\s*:\s*"([^"\\]{1,256})"')
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([^"\\]{1,256})"')
_USAGE: Final = re.compile(rb'"usage"\s*:\s*(?=\{)')
_HEAD_BYTES: Final = 1024
# Answers of vectors, and what precedes and follows these, as vLLM writes them.
_VECTORS: Final = (b'{"id":"embd-', b'{"id":"pooling-')
_DATA: Final = b'"data":['
_AFTER_DATA: Final = b'],"usage":'


def read_answer(
    chunks: Sequence[bytes], whole: bool, tail: Iterable[bytes], stream: bool, keep: bool
) -> AnswerFacts:
    """The facts of an answer.

    Of a stream, `chunks` holds the first chunk (all chunks if `keep`), which has the id, and
    `tail` the last ones, which have the finish reason and the usage.
    """
    facts = AnswerFacts()
    raw = b"".join(chunks)
    if not stream:
        body = None
        if whole:
            body = read_object(_without_vectors(raw))
        elif keep and not raw.startswith(_VECTORS):
            body, facts.is_cut = read_cut_object(raw), True
        if body is None:
            head = raw[:_HEAD_BYTES]
            facts.id, facts.model = first_match(_ID_AT_HEAD, head), first_match(_MODEL, head)
        else:
            _read(facts, body)
            _set_reasons(facts, dict(finish_reasons(body)))
            facts.body = body if keep else None
        return facts
    reasons: dict[int, str] = {}
    if keep:
        answer = StreamedAnswer()
        for event in answer.events(raw):
            _read_event(facts, reasons, event)
        facts.body = answer.body(reasons)
        facts.is_cut = answer.is_cut or not whole
    else:
        head = raw[:_HEAD_BYTES]
        facts.id, facts.model = first_match(_ID_AT_HEAD, head), first_match(_MODEL, head)
    if not keep or not whole:
        _read_tail(facts, reasons, b"".join(tail))
    _set_reasons(facts, reasons)
    return facts


def _set_reasons(facts: AnswerFacts, reasons: dict[int, str]) -> None:
    facts.finished_choices = tuple(sorted(reasons))
    facts.finish_reasons = tuple(reasons[choice] for choice in facts.finished_choices)


def _without_vectors(raw: bytes) -> bytes:
    """An answer without the vectors that it holds: nobody wants them, and reading them is slow."""
    if not raw.startswith(_VECTORS):
        return raw
    start, end = raw.find(_DATA, 0, _HEAD_BYTES), raw.rfind(_AFTER_DATA)
    return raw if start < 0 or end < start else raw[: start + len(_DATA)] + raw[end:]


def _read_tail(facts: AnswerFacts, reasons: dict[int, str], raw: bytes) -> None:
    for number, line in enumerate(raw.split(b"\n")):
        if line.startswith(b"data:"):
            if not _is_plain_delta(line) and (event := read_object(line[5:])) is not None:
                _read_event(facts, reasons, event)
        # Of an event longer than a kept chunk the end is here, with the usage.
        elif number == 0 and (match := _USAGE.search(line)) is not None:
            try:
                text = line[match.end() :].decode("utf-8", "replace")
                usage, _ = json.JSONDecoder().raw_decode(text)
            except (ValueError, RecursionError):
                continue
            _read_usage(facts, mapping_of(usage))


def _is_plain_delta(line: bytes) -> bool:
    # The most frequent event: a piece of text, without reason, usage or error. Not worth parsing.
    return b'"finish_reason":null' in line and b'"usage":{' not in line and b'"error"' not in line


def _read_event(facts: AnswerFacts, reasons: dict[int, str], event: Json) -> None:
    # Events of Responses and Messages wrap the object that holds id, model and usage.
    for key in ("response", "message"):
        if isinstance(inner := event.get(key), dict):
            _read_event(facts, reasons, inner)
    _read(facts, event)
    reasons.update(finish_reasons(event))


def _read(facts: AnswerFacts, body: Json) -> None:
    facts.id = name_of(body.get("id")) or name_of(body.get("request_id")) or facts.id
    facts.model = name_of(body.get("model")) or facts.model
    usage = body.get("usage") or mapping_of(body.get("delta")).get("usage")
    if isinstance(usage, dict):
        # Cohere's chat counts in an object of its own.
        _read_usage(facts, usage.get("tokens") or usage)
        if (count := count_of(usage.get("cached_tokens"))) is not None:
            facts.cached_tokens = count
    elif isinstance(billed := mapping_of(body.get("meta")).get("billed_units"), Mapping):
        _read_usage(facts, billed)
    read_error(facts, body)


def _read_usage(facts: AnswerFacts, usage: object) -> None:
    if not isinstance(usage, dict):
        return
    prompt = count_of(usage.get("prompt_tokens", usage.get("input_tokens")))
    output = count_of(usage.get("completion_tokens", usage.get("output_tokens")))
    # Messages reports 0 output tokens at the start of a stream and the sum at its end.
    facts.input_tokens = prompt if prompt is not None else facts.input_tokens
    facts.output_tokens = output if output is not None else facts.output_tokens
    if "cache_read_input_tokens" in usage:
        facts.counts_cached_apart = True
    details = mapping_of(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    for cached in (details.get("cached_tokens"), usage.get("cache_read_input_tokens")):
        if (count := count_of(cached)) is not None:
            facts.cached_tokens = count
            break
    for created in (
        details.get("created_cache_tokens"),
        details.get("cache_write_tokens"),
        usage.get("cache_creation_input_tokens"),
    ):
        if count := count_of(created):
            facts.created_tokens = count
            break
    details = mapping_of(
        usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    )
    if count := count_of(details.get("reasoning_tokens")):
        facts.reasoning_tokens = count
