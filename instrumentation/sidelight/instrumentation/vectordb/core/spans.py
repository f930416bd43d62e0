"""The span of a call: how it starts, and what is written to it at its end."""

from __future__ import annotations

import traceback
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.failures import (
    MAX_STACK_CHARACTERS,
    library_type,
    qualified_name,
    shortened,
    stack_without_content,
)
from sidelight.instrumentation.vectordb.core.target import Attributes, CallTarget

_NUMBERS: Final = (names.RETRIEVAL_TOP_K, names.VECTOR_EF, names.VECTOR_NPROBE)


def start_span(tracer: Tracer, call: DatabaseCall, target: CallTarget) -> None:
    """Starts the span of a call for `target`, in the call's context."""
    call.target = target
    call.span = span = tracer.start_span(
        target.span_name,
        call.context,
        SpanKind.CLIENT,
        target.span_attributes(call.nested),
        start_time=call.started_ns,
    )
    call.context = trace.set_span_in_context(span, call.context)


def write_span(call: DatabaseCall) -> None:
    """Writes everything known in one go, and the core attributes again if they were evicted."""
    span, target = call.span, call.target
    if span is None or target is None or not span.is_recording():
        return
    attributes = call.attributes
    for name in _NUMBERS:
        # Local modes take a limit of any type if there is nothing to limit.
        if not isinstance(attributes.get(name, 0), int | float):
            del attributes[name]
    if call.rows is not None:
        attributes[names.DB_RETURNED_ROWS] = call.rows
    if call.metric_type is not None:
        attributes[names.VECTOR_METRIC_TYPE] = call.metric_type
    if call.field is not None:
        attributes[names.VECTOR_FIELD] = call.field
    if call.ranker is not None:
        attributes[names.VECTOR_RANKER] = call.ranker
    failed: Attributes = {}
    failure = call.failure
    if failure is not None:
        if failure.code is not None:
            failed[names.DB_STATUS_CODE] = failure.code
        failed[names.ERROR_TYPE] = failure.error_type
        attributes.update(failed)
        span.set_status(Status(StatusCode.ERROR, shortened(failure.message)))
    span.set_attributes(attributes)
    # The SDK evicts the oldest attributes once a span has too many; set again, these
    # are the youngest.
    if getattr(span, "dropped_attributes", 0):
        span.set_attributes({**failed, **target.span_attributes(call.nested)})


def add_exception_event(call: DatabaseCall, error: BaseException) -> None:
    """Adds the exception of a failed call; its own message and code only if text may leave."""
    span = call.span
    assert span is not None
    captures_text = call.settings.captures_text
    message = str(error) if captures_text or call.failure is None else call.failure.message
    stack = (
        "".join(traceback.format_exception(error))
        if captures_text
        else stack_without_content(error)
    )
    span.add_event(
        "exception",
        {
            "exception.type": qualified_name(type(error) if captures_text else library_type(error)),
            "exception.message": shortened(message),
            "exception.stacktrace": shortened(stack, MAX_STACK_CHARACTERS),
        },
    )
