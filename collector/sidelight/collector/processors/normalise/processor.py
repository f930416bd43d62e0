"""Makes the spans of other instrumentors canonical.

First names, by the instrumentor's table; then what both backends need to display a span.
"""

from __future__ import annotations

from datetime import UTC, datetime

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.normalise.display import display
from sidelight.collector.processors.normalise.instrumentors import vllm
from sidelight.collector.processors.normalise.kind import set_kind
from sidelight.collector.processors.normalise.names import rename
from sidelight.collector.processors.normalise.payload import read_events, read_indexed_messages
from sidelight.collector.processors.normalise.table import Table
from sidelight.collector.processors.normalise.usage import move_unknown, say_free
from sidelight.otlp.span import attributes

# Beyond a day it is not a time but a mistake, perhaps in milliseconds.
_MAX_TTFT_SECONDS = 86_400


def normalise(table: Table, span: EditableSpan) -> None:
    """Make a span canonical, as its table says."""
    if table.is_engine:
        if span.proto.name != vllm.REQUEST_SPAN:
            return
        rename(table, span)
        vllm.complete_request(span)
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
    seconds = span.number(c.TIME_TO_FIRST_TOKEN)
    if span.text(c.SPAN_KIND) != "LLM" or seconds is None:
        return
    if 0 < seconds < _MAX_TTFT_SECONDS:
        moment = span.proto.start_time_unix_nano / 1e9 + seconds
        span.set_missing(
            c.LANGFUSE_COMPLETION_START, datetime.fromtimestamp(moment, UTC).isoformat()
        )


def _set_status_message(span: EditableSpan) -> None:
    """The exception as status message: Langfuse drops span events."""
    status = span.proto.status
    if status.code != Status.STATUS_CODE_ERROR or status.message:
        return
    for event in span.proto.events:
        if event.name == "exception":
            exception = attributes(event.attributes)
            texts = [exception.get("exception.type"), exception.get("exception.message")]
            status.message = ": ".join(text for text in texts if isinstance(text, str) and text)
            span.changed = True
