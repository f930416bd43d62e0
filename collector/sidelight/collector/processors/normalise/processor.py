"""Makes the spans of other instrumentors canonical.

First names, by the instrumentor's table; then what both backends need to display a span.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan, Fact
from sidelight.collector.processors.common.open_span import number_of
from sidelight.collector.processors.normalise import messages
from sidelight.collector.processors.normalise.display import display
from sidelight.collector.processors.normalise.instrumentors import vllm
from sidelight.collector.processors.normalise.kind import set_kind
from sidelight.collector.processors.normalise.names import rename
from sidelight.collector.processors.normalise.payload import read_events, read_indexed_messages
from sidelight.collector.processors.normalise.table import Table
from sidelight.collector.processors.normalise.usage import move_unknown, say_free
from sidelight.otlp.span import AttributeValue, attributes

# Beyond a day it is not a time but a mistake, perhaps in milliseconds.
_MAX_TTFT_SECONDS = 86_400

_IS_REQUEST = Fact(lambda span: span.name == vllm.REQUEST_SPAN, is_of_head=True)
_NAME = Fact(lambda span: span.name, is_of_head=True)
_START = Fact(lambda span: span.start_time_unix_nano, is_of_head=True)


_LACKS_MESSAGE = Fact(lambda span: not span.status.message)


def normalise(table: Table, span: EditableSpan) -> None:
    """Make a span canonical, as its table says."""
    if table.is_engine:
        phase = span.tell(vllm.phase_of, _NAME)
        if phase is None and not span.tell(bool, _IS_REQUEST):
            return
        rename(table, span)
        if phase is None:
            vllm.complete_request(span)
        else:
            vllm.complete_phase(span, phase)
        move_unknown(span)
    else:
        rename(table, span)
        set_kind(table, span)
        read_indexed_messages(span)
        read_events(span)
        display(span)
        # Langfuse reads the one name, Phoenix the other.
        span.copy(c.REASONING_TOKENS, c.LLM_REASONING_TOKENS)
    _set_first_token(span)
    _set_status_message(span)
    say_free(span)


def _set_first_token(span: EditableSpan) -> None:
    """Langfuse knows a time to the first token only from the moment it came."""
    if span.get(c.REQUEST_STREAM) is False:
        # Langfuse lists it among the model's parameters, and it says what most calls are.
        span.remove(c.REQUEST_STREAM)
        # OpenLIT writes the duration there.
        span.remove(c.TIME_TO_FIRST_TOKEN)
        span.remove(c.TIME_PER_OUTPUT_TOKEN)
        return
    # Asked where it can be answered: each question costs as much as reading a value.
    if c.TIME_TO_FIRST_TOKEN in span and span.text(c.SPAN_KIND) == "LLM":
        span.derive_missing(
            c.LANGFUSE_COMPLETION_START, _completion_start, c.TIME_TO_FIRST_TOKEN, _START
        )


def _completion_start(first_token: AttributeValue, start_ns: int) -> str | None:
    seconds = number_of(first_token)
    if seconds is None or not 0 < seconds < _MAX_TTFT_SECONDS:
        return None
    return messages.moment(datetime.fromtimestamp(start_ns / 1e9 + seconds, UTC))


def _set_status_message(span: EditableSpan) -> None:
    """The exception as status message: Langfuse drops span events."""
    if not span.is_error or not span.has_events or not span.tell(bool, _LACKS_MESSAGE):
        return
    status = span.proto.status
    for event in span.proto.events:
        if event.name == "exception":
            exception = attributes(event.attributes)
            texts = [exception.get("exception.type"), exception.get("exception.message")]
            status.message = ": ".join(text for text in texts if isinstance(text, str) and text)
            span.touch()
