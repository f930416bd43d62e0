"""One database operation, observed: written once, driven by a sync and an async loop.

An `Operation` is a pair of plain functions: one reads the arguments of a client's method into
a `Call`, the other reads what the method returned into the same `Call`. The loops here do
the rest, always in this order: describe the call, start the span, make it current, call the
client, describe the result, record metrics, end the span. Whatever of ours fails is counted,
logged once, and never reaches the caller; the client's own exceptions pass through as they are.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol

from opentelemetry import context as contexts
from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.call import Attributes, Call, Target
from sidelight.instrumentation.vectordb.core.failures import (
    STACK_CHARACTERS,
    Failure,
    cut,
    frames,
    place,
    qualified,
)
from sidelight.instrumentation.vectordb.core.metrics import Meters
from sidelight.instrumentation.vectordb.core.redaction import NOT_CAPTURED, redacted

Values = Mapping[str, Any]

_TARGETS: Final = 2_048
# Some apps make a collection for each user or session.
_MEASURED_COLLECTIONS: Final = 500
_NOTHING: Final[Values] = {}
# What opentelemetry-instrumentation's `suppress_instrumentation()` sets, besides a private key.
_SUPPRESS: Final = "suppress_instrumentation"

_logger = logging.getLogger("sidelight.instrumentation.vectordb")
# The call that is running in this context: what a client calls of itself is no call of its own.
_active: Final[ContextVar[Call | None]] = ContextVar("sidelight_vectordb_call", default=None)


def active_call() -> Call | None:
    """The call that is running in this context, if one is observed."""
    call = _active.get()
    return None if call is None or call.ended else call


class Deferred(Protocol):
    """A future on which the end of a call can be hung."""

    def add_done_callback(self, callback: Callable[[Any], object], /) -> object:
        """Calls `callback` with the future once it is done."""


def nothing(_call: Call, _result: Any) -> None:
    """The result of this operation says nothing worth keeping."""


@dataclass(frozen=True, slots=True)
class Operation:
    """How one method of a client is observed.

    `describe_call(call, client, values)` gets the arguments by name and sets `call.target`;
    `describe_result(call, result)` gets what came back. With `on_error_only` there is a span
    only if the method raises. A call that returns before it is done sets `call.deferred`;
    `future_of(result)` then finds the future, `settle(call, future)` describes its outcome.
    """

    name: str
    describe_call: Callable[[Call, Any, Values], None]
    describe_result: Callable[[Call, Any], None] = nothing
    on_error_only: bool = False
    future_of: Callable[[Any], Deferred | None] | None = None
    settle: Callable[[Call, Any], None] = nothing


class Observer:
    """Observes the calls of one client library; knows nothing about any library."""

    def __init__(
        self,
        system: str,
        describe_error: Callable[[BaseException], Failure],
        *,
        version: str,
        settings: Settings,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        """`version` is that of the client library and becomes part of the scope."""
        self.system: Final = system
        self.settings: Final = settings
        self._describe_error = describe_error
        self._tracer = trace.get_tracer(names.SCOPE_VECTORDB, version, tracer_provider)
        self._is_on = True
        self._targets: dict[tuple[object, ...], Target] = {}
        self._measured: set[tuple[str | None, str | None]] = set()
        self._faults: set[str] = set()
        meter = metrics.get_meter(names.SCOPE_VECTORDB, version, meter_provider)
        self._meters = Meters(meter, self.fault)

    # ── the two loops ────────────────────────────────────────────────────────────────────

    def call(
        self,
        operation: Operation,
        client: Any,
        values: Values,
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Calls `method` and observes it as `operation`; returns and raises what it does."""
        call = self.begin(operation, client, values)
        if call is None:
            return method(*args, **kwargs)
        try:
            result = method(*args, **kwargs)
        except BaseException as error:
            self.failed(operation, call, error)
            raise
        self.succeeded(operation, call, result)
        return result

    async def call_async(
        self,
        operation: Operation,
        client: Any,
        values: Values,
        method: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Awaits `method` and observes it as `operation`; returns and raises what it does."""
        call = self.begin(operation, client, values)
        if call is None:
            return await method(*args, **kwargs)
        try:
            result = await method(*args, **kwargs)
        except BaseException as error:
            self.failed(operation, call, error)
            raise
        self.succeeded(operation, call, result)
        return result

    # ── the steps of both ────────────────────────────────────────────────────────────────

    def begin(self, operation: Operation, client: Any, values: Values) -> Call | None:
        """Starts a call; None if it is not to be observed. Never raises."""
        if not self._is_on:
            return None
        try:
            active = _active.get()
            if (
                active is not None
                and not active.ended
                and (active.covers is None or active.covers(values))
            ):
                return None
            # Given on wherever one is taken, as each of those would look it up anew.
            context = contexts.get_current()
            call = Call(self.settings, values)
            call.context = context
            # Outside of any trace the context is empty.
            if context:
                if context.get(_SUPPRESS):
                    return None
                if _is_retriever(trace.get_current_span(context)):
                    call.nested = True
            operation.describe_call(call, client, values)
            if not operation.on_error_only:
                self._start(operation, call)
                self.enter(call)
        except Exception as error:  # noqa: BLE001
            self.fault(f"{operation.name}: call", error)
            return None
        return call

    def stop(self) -> None:
        """Observes no call any more that begins from now on."""
        self._is_on = False

    def enter(self, call: Call) -> None:
        """Makes the call's span current, and the call the one that runs."""
        if call.span is not None and call.context is not None:
            call.token = contexts.attach(call.context)
            call.guard = _active.set(call)

    def leave(self, call: Call) -> None:
        """Makes the caller's own context current again.

        A coroutine that is cancelled or collected may be closed in another context than it ran
        in: what was set is gone with that one, and there is nothing to undo.
        """
        guard, call.guard = call.guard, None
        token, call.token = call.token, None
        if guard is not None:
            try:
                _active.reset(guard)
            except ValueError:
                return
        if token is not None:
            contexts.detach(token)

    def succeeded(self, operation: Operation, call: Call, result: Any) -> None:
        """The client returned `result`. Never raises."""
        try:
            if operation.on_error_only:
                operation.describe_result(call, result)
                return
            if call.deferred and operation.future_of is not None:
                future = operation.future_of(result)
                if future is not None:
                    self.leave(call)
                    future.add_done_callback(lambda done: self._settled(operation, call, done))
                    return
            operation.describe_result(call, result)
        except Exception as error:  # noqa: BLE001
            self.fault(f"{operation.name}: result", error)
        self.end(call)

    def failed(self, operation: Operation, call: Call, error: BaseException) -> None:
        """The client raised `error`. Never raises."""
        try:
            if operation.on_error_only:
                self._start(operation, call)
            failure = self._describe_error(error)
            # A broken connection has no message of its own.
            message = self._message(call, failure.message or repr(error))
            call.failed(type(error).__qualname__, failure.code, message)
            if call.span is not None and call.span.is_recording():
                self._exception_event(call, error)
        except Exception as fault:  # noqa: BLE001
            self.fault(f"{operation.name}: error", fault)
            # That the call failed is known all the same.
            call.error = call.error or (type(error).__qualname__, None, NOT_CAPTURED)
        self.end(call)

    def target(
        self,
        operation: str,
        collection: str | None,
        namespace: str | None = None,
        address: str | None = None,
        port: int | None = None,
        *,
        retrieval: bool = False,
    ) -> Target:
        """The target of a call, built once for each operation, server and collection."""
        key = (operation, collection, namespace, address, port)
        found = self._targets.get(key)
        if found is None:
            found = Target(
                self.system,
                operation,
                collection=collection,
                namespace=namespace,
                address=address,
                port=port,
                retrieval=retrieval,
                measured=self._is_measured(namespace, collection),
            )
            if len(self._targets) >= _TARGETS:
                self._targets.clear()
            self._targets[key] = found
        return found

    def _is_measured(self, namespace: str | None, collection: str | None) -> bool:
        """Whether the collection has metrics of its own: an SDK keeps each series for ever."""
        place = (namespace, collection)
        if len(self._measured) < _MEASURED_COLLECTIONS:
            self._measured.add(place)
        return place in self._measured

    def fault(self, where: str, error: BaseException) -> None:
        """Counts an error of ours and logs the first of each place. Never raises."""
        try:
            self._meters.faults.add(1, {names.DB_SYSTEM: self.system})
            if where not in self._faults:
                self._faults.add(where)
                _logger.warning(
                    "Sidelight cannot read a %s call (%s: %s in %s); the call itself is not "
                    "affected. This client version may be newer than the ones tested.",
                    self.system, type(error).__name__, place(error), where,
                )  # fmt: skip
        except Exception:
            _logger.debug("a fault could not be counted", exc_info=True)

    # ── span and metrics ─────────────────────────────────────────────────────────────────

    def _start(self, operation: Operation, call: Call) -> None:
        target = call.target
        if target is None:
            target = call.target = self.target(operation.name, None)
        call.span = span = self._tracer.start_span(
            target.span_name,
            call.context,
            SpanKind.CLIENT,
            target.span_attributes(call.nested),
            start_time=call.started_ns,
        )
        call.context = trace.set_span_in_context(span, call.context)

    def _message(self, call: Call, text: str) -> str:
        """An error's message as far as it may leave. Never raises."""
        if self.settings.captures_text:
            return cut(text)
        try:
            return redacted(cut(text), call.arguments)
        except Exception as error:  # noqa: BLE001
            self.fault("message", error)
            return NOT_CAPTURED

    def _settled(self, operation: Operation, call: Call, future: Any) -> None:
        """A deferred call is done; runs on whatever thread the client uses. Never raises."""
        try:
            operation.settle(call, future)
            if call.error is not None:
                error_type, code, message = call.error
                call.failed(error_type, code, self._message(call, message))
        except Exception as error:  # noqa: BLE001
            self.fault(f"{operation.name}: future", error)
        self.end(call)

    def discard(self, call: Call) -> None:
        """Drops a call that the client itself starts over: its span is never ended."""
        call.ended = True
        self.leave(call)

    def end(self, call: Call) -> None:
        """Records metrics and ends the span. Never raises."""
        if call.ended:
            return
        call.ended = True
        call.arguments = _NOTHING
        try:
            if call.busy is None:
                call.busy = perf_counter() - call.started
            self._write(call)
        except Exception as error:  # noqa: BLE001
            self.fault("end", error)
        finally:
            try:
                span = call.span
                if span is not None:
                    span.end()
                self.leave(call)
                # Documents must not wait in the queue of the metrics.
                call.attributes, call.span, call.context = {}, None, None
                call.seen_in = None if span is None else span.get_span_context()
                self._meters.put(call)
            except Exception as error:  # noqa: BLE001
                self.fault("end", error)

    def _write(self, call: Call) -> None:
        """Everything known goes to the span in one go, its core attributes again if evicted."""
        span, target = call.span, call.target
        if span is None or target is None or not span.is_recording():
            return
        attributes = call.attributes
        if call.rows is not None:
            attributes[names.DB_RETURNED_ROWS] = call.rows
        if call.metric_type is not None:
            attributes[names.VECTOR_METRIC_TYPE] = call.metric_type
        if call.ranker is not None:
            attributes[names.VECTOR_RANKER] = call.ranker
        failed: Attributes = {}
        if call.error is not None:
            error_type, code, message = call.error
            if code is not None:
                failed[names.DB_STATUS_CODE] = code
            failed[names.ERROR_TYPE] = error_type
            attributes.update(failed)
            span.set_status(Status(StatusCode.ERROR, cut(message)))
        span.set_attributes(attributes)
        # The SDK evicts the oldest attributes once a span has too many; set again, these
        # are the youngest.
        if getattr(span, "dropped_attributes", 0):
            span.set_attributes({**failed, **target.span_attributes(call.nested)})

    def _exception_event(self, call: Call, error: BaseException) -> None:
        span = call.span
        assert span is not None
        text = call.settings.captures_text
        message = str(error) if text or call.error is None else call.error[2]
        span.add_event(
            "exception",
            {
                "exception.type": qualified(type(error)),
                "exception.message": cut(message),
                "exception.stacktrace": cut(
                    "".join(traceback.format_exception(error)) if text else frames(error),
                    STACK_CHARACTERS,
                ),
            },
        )


def _is_retriever(span: trace.Span) -> bool:
    """Whether `span` is a RETRIEVER, as LangChain's and LlamaIndex's are."""
    attributes = getattr(span, "attributes", None)
    return attributes is not None and attributes.get(names.SPAN_KIND) == "RETRIEVER"
