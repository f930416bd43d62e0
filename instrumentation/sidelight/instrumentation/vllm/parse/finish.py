"""Why a generation ended, in one word for all APIs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidelight.instrumentation.vllm.parse.values import (
    mapping_of,
    mappings_of,
    name_of,
)

TOOL_CALLS: Final = "tool_calls"
# Of Anthropic's Messages, OpenAI's Responses and older chat, Cohere's chat. Others stay as they
# are: stop, length, tool_calls, content_filter, abort, error, repetition.
_NAMES: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": TOOL_CALLS,
    "refusal": "content_filter",
    "completed": "stop",
    "incomplete": "length",
    "max_output_tokens": "length",
    "failed": "error",
    "cancelled": "abort",
    "function_call": TOOL_CALLS,
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": TOOL_CALLS,
    "ERROR": "error",
}
_RESPONSE_STATES: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})


def finish_reason(given: object) -> str | None:
    """The one name of a finish reason; None if `given` is not a text."""
    reason = name_of(given)
    return None if reason is None else _NAMES.get(reason, reason)


def finish_reasons(body: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The index and the reason of each choice in an answer, or in an event of a stream."""
    choices = body.get("choices")
    if isinstance(choices, list):
        for position, choice in enumerate(choices):
            if not isinstance(choice, dict):
                continue
            if (reason := finish_reason(choice.get("finish_reason"))) is not None:
                index = choice.get("index")
                yield (index if isinstance(index, int) else position), reason
    elif body.get("object") == "response":
        if (reason := _reason_of_response(body)) is not None:
            yield 0, reason
    else:
        delta = mapping_of(body.get("delta"))
        for key in ("stop_reason", "finish_reason"):
            if reason := finish_reason(body.get(key)) or finish_reason(delta.get(key)):
                yield 0, reason
                return


def _reason_of_response(body: Mapping[str, Any]) -> str | None:
    state = body.get("status")
    if state not in _RESPONSE_STATES:
        return None
    if state == "incomplete":
        return finish_reason(mapping_of(body.get("incomplete_details")).get("reason")) or "length"
    # The state of an answer that asks for a tool is "completed" as well.
    if state == "completed" and any(
        item.get("type") in ("function_call", "custom_tool_call")
        for item in mappings_of(body.get("output"))
    ):
        return TOOL_CALLS
    return finish_reason(state)
