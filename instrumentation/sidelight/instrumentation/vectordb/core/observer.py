"""Observes the calls of one client library, sync and async; knows nothing of any library.

Always in this order: describe the call, start the span, make it current, call the client, describe
the result, record metrics, end the span. Whatever fails here is counted, logged once, and never
reaches the caller; the client's own exceptions pass through as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import metrics, trace

from sidelight import conventions as names
from sidelight.instrumentation.messages import NOT_CAPTURED, Messages
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.suppression import is_suppressed
from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall
from sidelight.instrumentation.vectordb.core.current import CurrentCalls, leave
from sidelight.instrumentation.vectordb.core.description import Database
from sidelight.instrumentation.vectordb.core.errors import ClientErrors
from sidelight.instrumentation.vectordb.core.failures import (
    Failure,
    library_type,
    origin,
    shortened,
    validation_summary,
)
from sidelight.instrumentation.vectordb.core.frameworks import is_retriever, langchain_parent
from sidelight.instrumentation.vectordb.core.method import ObservedMethod
from sidelight.instrumentation.vectordb.core.metrics import CallMetrics
from sidelight.instrumentation.vectordb.core.spans import (
    add_exception_event,
    start_span,
    write_span,
)
from sidelight.instrumentation.vectordb.core.target import CallTarget, CallTargets

_NO_ARGUMENTS: Final[Arguments] = {}
_logger = logging.getLogger("sidelight.instrumentation.vectordb")


class CallObserver:
    """Observes the calls of one client library."""

    def __init__(
        self,
        database: Database,
        errors: ClientErrors,
        *,
        version: str,
        settings: Settings,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        """`version` is that of the client library and becomes part of the scope."""
        self.settings: Final = settings
        self.targets: Final = CallTargets(database)
        self.current: Final = CurrentCalls(database.client.package)
        self._system: Final = database.name
        self._errors: Final = errors
        # Read here rather than when a call fails, as that may be on an event loop.
        self._messages: Final = Messages.of(errors.folder, errors.words)
        self._tracer = trace.get_tracer(names.SCOPE_VECTORDB, version, tracer_provider)
        self._is_on = True
        self._faults: set[str] = set()
        meter = metrics.get_meter(names.SCOPE_VECTORDB, version, meter_provider)
        self._metrics = CallMetrics(database.name, meter, self.fault)

    # ── the two loops ────────────────────────────────────────────────────────────────────

    def call(
        self,
        observed: ObservedMethod,
        client: Any,
        arguments: Arguments,
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Calls `method` and observes it; returns and raises what it does."""
        call = self.begin(observed, client, arguments)
        if call is None:
            return method(*args, **kwargs)
        try:
            result = method(*args, **kwargs)
        except BaseException as error:
            self.failed(observed, call, error)
            raise
        self.succeeded(observed, call, result)
        return result

    async def call_async(
        self,
        observed: ObservedMethod,
        client: Any,
        arguments: Arguments,
        method: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Awaits `method` and observes it; returns and raises what it does."""
        call = self.begin(observed, client, arguments)
        if call is None:
            return await method(*args, **kwargs)
        try:
            result = await method(*args, **kwargs)
        except BaseException as error:
            self.failed(observed, call, error)
            raise
        self.succeeded(observed, call, result)
        return result

    # ── the steps of both ────────────────────────────────────────────────────────────────

    def begin(
        self, observed: ObservedMethod, client: Any, arguments: Arguments
    ) -> DatabaseCall | None:
        """Starts a call; None if it is not to be observed. Never raises."""
        # What others put around our wrapper stays after `uninstrument`, and calls it.
        if not self._is_on:
            return None
        try:
            # Passed on wherever a context is taken, as each of those would look it up anew.
            context = contexts.get_current()
            call = DatabaseCall(self.settings, arguments)
            call.client = client
            call.context = context
            # Outside of any trace the context is empty.
            if context:
                if is_suppressed(context) or self.current.covers(context, arguments):
                    return None
                if is_retriever(trace.get_current_span(context)):
                    call.nested = True
            if not call.nested:
                self._hang_under_langchain(call)
            observed.describe_call(call, client, arguments)
            if not observed.span_on_failure_only:
                start_span(self._tracer, call, call.target or self._target_of(observed))
                self.current.enter(call)
        except Exception as error:  # noqa: BLE001
            self.fault(f"{observed.operation}: call", error)
            return None
        return call

    def _hang_under_langchain(self, call: DatabaseCall) -> None:
        """Make the span of the LangChain run the parent, which OpenInference does not attach."""
        try:
            found = langchain_parent(trace.get_current_span(call.context))
        except Exception as error:  # noqa: BLE001 (it looks into two other libraries)
            self.fault("langchain: parent", error)
            return
        if found is not None:
            span, call.nested = found
            call.context = trace.set_span_in_context(span, call.context)

    def succeeded(self, observed: ObservedMethod, call: DatabaseCall, result: Any) -> None:
        """The client returned `result`. Never raises."""
        try:
            if observed.span_on_failure_only:
                observed.describe_result(call, result)
                return
            if call.deferred and observed.future_of is not None:
                future = observed.future_of(result)
                if future is not None:
                    leave(call)
                    future.add_done_callback(lambda done: self._settled(observed, call, done))
                    return
            observed.describe_result(call, result)
        except Exception as error:  # noqa: BLE001
            self.fault(f"{observed.operation}: result", error)
        self.end(call)

    def failed(self, observed: ObservedMethod, call: DatabaseCall, error: BaseException) -> None:
        """The client raised `error`. Never raises."""
        try:
            if observed.span_on_failure_only:
                # With the time at which the call began.
                start_span(self._tracer, call, call.target or self._target_of(observed))
            failure = self._errors.describe(error)
            call.failure = replace(failure, message=self._message(call, failure, error))
            self._drop_unknown_words(call)
            if call.span is not None and call.span.is_recording():
                add_exception_event(call, error)
        except Exception as fault:  # noqa: BLE001
            self.fault(f"{observed.operation}: error", fault)
            # That the call failed is known all the same.
            call.failure = call.failure or Failure(
                library_type(error).__qualname__, None, NOT_CAPTURED
            )
        self.end(call)

    def discard(self, call: DatabaseCall) -> None:
        """Drops a call that the client itself starts over: its span is never ended."""
        # Metrics would count it beside the call that it becomes.
        call.ended = True
        leave(call)

    def end(self, call: DatabaseCall) -> None:
        """Records metrics and ends the span. Never raises."""
        if call.ended:
            return
        call.ended = True
        # A context that outlives the call, such as a task's, holds it.
        call.arguments, call.client = _NO_ARGUMENTS, None
        try:
            if call.busy_seconds is None:
                call.busy_seconds = perf_counter() - call.started
            write_span(call)
        except Exception as error:  # noqa: BLE001
            self.fault("end", error)
        finally:
            try:
                span = call.span
                if span is not None:
                    span.end()
                leave(call)
                # Documents must not wait in the queue of the metrics.
                call.attributes, call.span, call.context = {}, None, None
                call.exemplar = None if span is None else span.get_span_context()
                self._metrics.put(call)
            except Exception as error:  # noqa: BLE001
                self.fault("end", error)

    def stop(self) -> None:
        """Observes no call any more that begins from now on."""
        self._is_on = False

    def fault(self, where: str, error: BaseException) -> None:
        """Counts an error of ours and logs the first of each place. Never raises."""
        try:
            self._metrics.faults(1, {names.DB_SYSTEM: self._system}, None)
            if where not in self._faults:
                self._faults.add(where)
                _logger.warning(
                    "Sidelight cannot read a %s call (%s: %s in %s); the call itself is not "
                    "affected. This client version may be newer than the ones tested.",
                    self._system, library_type(error).__name__, origin(error), where,
                )  # fmt: skip
        except Exception:  # noqa: BLE001 (the app must not see it)
            # Without the exception, whose words may quote what the app gave.
            _logger.debug("a fault could not be counted")

    def _target_of(self, observed: ObservedMethod) -> CallTarget:
        """The target of a call that is described without one: no more than the operation."""
        return self.targets.get(observed.operation, None)

    def _message(self, call: DatabaseCall, failure: Failure, error: BaseException | None) -> str:
        """An error's message as far as it may leave. Never raises."""
        try:
            if self.settings.captures_text:
                # A broken connection has no message of its own.
                return shortened(failure.message or str(error) or repr(error))
            # Before its text is asked for, which pydantic makes of all that was given.
            summary = None if error is None else validation_summary(error)
            if summary is not None:
                return summary
            if not failure.message:
                return failure.error_type if error is not None and not error.args else NOT_CAPTURED
            names = self._errors.names(call.client, call.arguments)
            return shortened(self._messages.kept(failure.message, names))
        except Exception as fault:  # noqa: BLE001
            self.fault("message", fault)
            return NOT_CAPTURED

    def _drop_unknown_words(self, call: DatabaseCall) -> None:
        """Drops what was refused and may be anything: a limit or a metric type that is a text."""
        if self.settings.captures_text:
            return
        names = self._errors.names(call.client, call.arguments)
        for attribute, value in list(call.attributes.items()):
            is_safe = (
                self._messages.are_known(value, names)
                if isinstance(value, str)
                else isinstance(value, int | float)
            )
            if not is_safe:
                del call.attributes[attribute]
        if call.metric_type and not self._messages.are_known(call.metric_type, names):
            call.metric_type = None
        if call.ranker and not self._messages.are_known(call.ranker, names):
            call.ranker = None

    def _settled(self, observed: ObservedMethod, call: DatabaseCall, future: Any) -> None:
        """A deferred call is done; runs on whatever thread the client uses. Never raises."""
        try:
            observed.settle(call, future)
            failure = call.failure
            if failure is not None:
                call.failure = replace(failure, message=self._message(call, failure, None))
                self._drop_unknown_words(call)
        except Exception as error:  # noqa: BLE001
            self.fault(f"{observed.operation}: future", error)
        self.end(call)
