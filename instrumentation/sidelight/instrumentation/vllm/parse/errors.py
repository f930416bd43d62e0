"""Errors in answers: their type and message, and what of a message may be told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sidelight.instrumentation.messages import NOT_CAPTURED, Messages
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts
from sidelight.instrumentation.vllm.parse.request import PARAMETERS
from sidelight.instrumentation.vllm.parse.values import mapping_of, name_of

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


def read_error(facts: AnswerFacts, body: Mapping[str, Any]) -> None:
    """Note the error that an answer or an event of a stream tells of, if it does.

    OpenAI's APIs have `error`, as a text or an object; so have Anthropic's and the realtime
    API. Cohere's has `message`, FastAPI's `detail`, vLLM's before 0.10 an object of its own.
    """
    error = body.get("error") or mapping_of(body.get("delta")).get("error")
    if not error and body.get("object") == "error":
        error = body
    for key in ("detail", "message"):
        if not error and isinstance(body.get(key), str):
            error = body[key]
    if isinstance(error, dict):
        facts.error_type = name_of(error.get("type")) or name_of(error.get("code"))
        message = error.get("message")
        # An error without a message is one all the same.
        facts.error_message = message if isinstance(message, str) else ""
    elif isinstance(error, str) and error:
        facts.error_type = name_of(body.get("code")) or facts.error_type
        facts.error_message = error


def error_message(message: str, captures_text: bool, model: str | None) -> str:
    """A server's error message; what is known to be safe of it unless `captures_text`.

    Errors quote the request: its prompt, its tools, its token ids. `model` is the name that the
    request has. Empty if nothing is known to be safe.
    """
    # Most answers have none, and comparing it with every known message takes 100 µs.
    if message and not captures_text:
        message = _messages().kept(message, frozenset({model} if model else ()))
        if message == NOT_CAPTURED:
            return ""
    return message[:MAX_ERROR_CHARACTERS]


@lru_cache(maxsize=1)
def _messages() -> Messages:
    words = PARAMETERS.keys() | _WORDS
    # Where in the body a value was refused.
    places = {f"body.{word}" for word in words}
    return Messages.of(Path(__file__).parent.parent, words | places)
