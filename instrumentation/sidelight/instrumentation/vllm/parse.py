"""Parses requests and answers: parameters, ids, tokens, finish reasons and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.messages import NOT_CAPTURED, Messages
from sidelight.instrumentation.vllm.routes import Dialect

Json = Mapping[str, Any]

_PARAMETERS: Final = {
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "max_completion_tokens": names.REQUEST_MAX_TOKENS,
    "max_output_tokens": names.REQUEST_MAX_TOKENS,
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "top_k": names.REQUEST_TOP_K,
    "seed": names.REQUEST_SEED,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
}
# States of OpenAI's Responses API as finish reasons. Anthropic's stop reasons stay as they are.
_RESPONSE_STATES: Final = {"completed": "stop", "incomplete": "length"}
_ID_AT_HEAD: Final = re.compile(rb'"id"\s*:\s*"([^"\\]{1,256})"')
_MODEL: Final = re.compile(rb'"model"\s*:\s*"([^"\\]{1,256})"')
_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
MAX_ERROR_CHARACTERS: Final = 500
# Parameters and fields that messages name.
_WORDS: Final = frozenset(
    {
        "input", "messages", "prompt", "tools", "tool_choice", "response_format", "stop", "n",
        "min_p", "min_tokens", "logprobs", "top_logprobs", "prompt_logprobs", "logit_bias",
        "bad_words", "allowed_token_ids", "stop_token_ids", "guided_json", "structured_outputs",
        "decoder", "encoder", "max_model_len", "stream", "stream_options", "echo", "best_of",
        "truncate_prompt_tokens", "repetition_penalty", "length_penalty", "image", "audio", "video",
    }
)  # fmt: skip
# Of models, ids, users and reasons: a client can write anything there, even a prompt.
MAX_NAME_CHARACTERS: Final = 256


@dataclass(slots=True)
class RequestFacts:
    """What a client asked for. `body` is kept only if content may be captured."""

    model: str | None = None
    stream: bool = False
    choices: int = 1
    prompts: int = 1
    user: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    body: Json | None = None

    @property
    def sequences(self) -> int:
        """The number of sequences that the engine makes of the request."""
        return max(1, self.choices) * max(1, self.prompts)


@dataclass(slots=True)
class AnswerFacts:
    """What the server answered. None where the answer did not say."""

    id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    body: Json | None = None
    events: tuple[Json, ...] = ()


def read_request(
    chunks: Sequence[bytes], whole: bool, dialect: Dialect, keep: bool
) -> RequestFacts:
    """The facts of a request body. Facts are empty if it is not the expected JSON.

    `whole` is False if the cap cut the body off. `keep` keeps the parsed body for content.
    """
    raw = b"".join(chunks)
    body = _object(raw) if whole else None
    if body is None:
        head = raw[:4096]
        return RequestFacts(model=_first_match(_MODEL, head), stream=bool(_STREAM.search(head)))
    attributes = {
        name: value
        for key, name in _PARAMETERS.items()
        if isinstance(value := body.get(key), int | float) and not isinstance(value, bool)
    }
    choices = body.get("n")
    if isinstance(choices, int) and choices > 1:
        attributes[names.REQUEST_CHOICES] = choices
    else:
        choices = 1
    return RequestFacts(
        model=_name(body.get("model")),
        stream=body.get("stream") is True,
        choices=choices,
        prompts=_prompts(body, dialect),
        user=_name(body.get("user")),
        attributes=attributes,
        body=body if keep else None,
    )


def _prompts(body: Json, dialect: Dialect) -> int:
    if dialect == "completion":
        prompt = body.get("prompt")
    elif dialect == "pooling":
        prompt = body.get("input")
    else:
        return 1
    # A list of texts or of token lists is a batch. A list of tokens is one prompt.
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        return len(prompt)
    return 1


def read_answer(
    chunks: Sequence[bytes], whole: bool, tail: Iterable[bytes], stream: bool, keep: bool
) -> AnswerFacts:
    """The facts of an answer.

    Of a stream, `chunks` holds the first chunk (all chunks if `keep`), which has the id, and
    `tail` the last ones, which have the finish reason and the usage.
    """
    facts = AnswerFacts()
    if not stream:
        raw = b"".join(chunks)
        body = _object(raw) if whole else None
        if body is not None:
            _read_object(facts, body)
            facts.body = body if keep else None
        else:
            facts.id = _first_match(_ID_AT_HEAD, raw[:1024])
        return facts
    if keep and whole:
        facts.events = tuple(_events(b"".join(chunks)))
        events: Iterable[Json] = facts.events
    else:
        head = chunks[0][:1024] if chunks else b""
        facts.id, facts.model = _first_match(_ID_AT_HEAD, head), _first_match(_MODEL, head)
        events = _events(b"".join(tail), tail_only=True)
    reasons: dict[int, str] = {}
    for event in events:
        _read_object(facts, event, reasons)
    facts.finish_reasons = tuple(reasons[index] for index in sorted(reasons))
    return facts


def _read_object(facts: AnswerFacts, body: Json, reasons: dict[int, str] | None = None) -> None:
    # Events of Responses and Messages wrap the object that holds id, model and usage.
    for key in ("response", "message"):
        inner = body.get(key)
        if isinstance(inner, Mapping):
            _read_object(facts, inner, reasons)
    facts.id = _name(body.get("id")) or facts.id
    facts.model = _name(body.get("model")) or facts.model
    if isinstance(usage := body.get("usage"), Mapping):
        _read_usage(facts, usage)
    if error := body.get("error"):
        _read_error(facts, error)
    reason_by_index = dict(_finish_reasons(body))
    if reasons is not None:
        reasons.update(reason_by_index)
    elif reason_by_index:
        facts.finish_reasons = tuple(reason_by_index[index] for index in sorted(reason_by_index))


def _finish_reasons(body: Json) -> Iterable[tuple[int, str]]:
    choices = body.get("choices")
    if isinstance(choices, list):
        for position, choice in enumerate(choices):
            if isinstance(choice, Mapping) and (reason := _name(choice.get("finish_reason"))):
                index = choice.get("index")
                yield (index if isinstance(index, int) else position), reason
    delta = body.get("delta")
    stopped = body.get("stop_reason") or (isinstance(delta, Mapping) and delta.get("stop_reason"))
    if "choices" not in body and (reason := _name(stopped)):
        yield 0, reason
    if body.get("object") == "response" and body.get("status") in _RESPONSE_STATES:
        yield 0, _RESPONSE_STATES[body["status"]]


def _read_usage(facts: AnswerFacts, usage: Json) -> None:
    prompt, output = (
        _count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
    )
    # Messages reports 0 output tokens at the start of a stream and the sum at its end.
    facts.input_tokens = prompt if prompt is not None else facts.input_tokens
    facts.output_tokens = output if output is not None else facts.output_tokens
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = usage.get("cache_read_input_tokens")
    if isinstance(details, Mapping):
        cached = details.get("cached_tokens")
    if (count := _count(cached)) is not None:
        facts.cached_tokens = count
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    if isinstance(details, Mapping) and (count := _count(details.get("reasoning_tokens"))):
        facts.reasoning_tokens = count


def _read_error(facts: AnswerFacts, error: object) -> None:
    if isinstance(error, Mapping):
        facts.error_type = _name(error.get("type")) or facts.error_type
        error = error.get("message")
    if isinstance(error, str):
        facts.error_message = error


def error_message(message: str, captures_text: bool, model: str | None) -> str:
    """A server's error message; what is known to be safe of it unless `captures_text`.

    Errors quote the request: its prompt, its tools, its token ids. `model` is the name that the
    request has. Empty if nothing is known to be safe.
    """
    if not captures_text:
        message = _messages().kept(message, frozenset({model} if model else ()))
        if message == NOT_CAPTURED:
            return ""
    return message[:MAX_ERROR_CHARACTERS]


@lru_cache(maxsize=1)
def _messages() -> Messages:
    return Messages.of(Path(__file__).parent, _PARAMETERS.keys() | _WORDS)


def _is_plain_delta(line: bytes) -> bool:
    # The most frequent event: a piece of text, without reason, usage or error. Not worth parsing.
    return b'"finish_reason":null' in line and b'"usage":{' not in line and b'"error"' not in line


def _events(raw: bytes, *, tail_only: bool = False) -> Iterable[Json]:
    for line in raw.split(b"\n"):
        if not line.startswith(b"data:") or (tail_only and _is_plain_delta(line)):
            continue
        if (event := _object(line[5:])) is not None:
            yield event


def _first_match(pattern: re.Pattern[bytes], head: bytes) -> str | None:
    match = pattern.search(head)
    return match[1].decode("utf-8", "replace") if match else None


def _object(raw: bytes) -> Json | None:
    try:
        # Decoding here saves json.loads from detecting the encoding.
        value = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _name(value: object) -> str | None:
    return value[:MAX_NAME_CHARACTERS] if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
