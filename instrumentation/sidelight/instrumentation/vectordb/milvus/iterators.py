"""Milvus iterators: one span from creation to exhaustion, its pages as events.

The searches and queries that an iterator makes of itself are part of it, never searches of
their own: one logical operation is one span, and one entry in the metrics.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall
from sidelight.instrumentation.vectordb.core.current import leave
from sidelight.instrumentation.vectordb.core.method import ObservedMethod
from sidelight.instrumentation.vectordb.core.observer import CallObserver
from sidelight.instrumentation.vectordb.core.patching import Patches, named, positional
from sidelight.instrumentation.vectordb.milvus.calls import database, server
from sidelight.instrumentation.vectordb.milvus.description import QUERY_ITERATORS, SEARCH_ITERATORS

_PAGE: Final = "db.vector.iterator.page"
# pymilvus tries the second version of the search iterator and falls back to the first.
_FALLBACK: Final = "ServerVersionIncompatibleException"


def observe_iterators(patches: Patches, observer: CallObserver) -> None:
    """Observes the iterators of every client API of pymilvus, which share these classes."""
    for wrapped in (SEARCH_ITERATORS, QUERY_ITERATORS):
        (operation,) = wrapped.operations
        for iterator in patches.find_classes(wrapped):
            observed = _Iterators(observer, operation.name)
            patches.replace(iterator, "__init__", observed.created)
            patches.replace(iterator, "next", observed.next)
            patches.replace(iterator, "close", observed.close)


def _own_requests(arguments: Arguments) -> bool:
    """Whether a handler call is the iterator's: a filter function of the app may make others."""
    return bool(arguments.get("iterator")) or _handler(arguments) is not None


def _handler(arguments: Arguments) -> Any:
    """What an iterator sends its requests through, as pymilvus calls it now or did up to 2.5."""
    return arguments.get("handler") or arguments.get("connection")


class _Iterators:
    """The living iterators of one class, each with the call that its span belongs to."""

    def __init__(self, observer: CallObserver, operation: str) -> None:
        self._observer = observer
        self._observed = ObservedMethod(operation, self._describe)
        self._calls: weakref.WeakKeyDictionary[Any, DatabaseCall] = weakref.WeakKeyDictionary()

    def _describe(self, call: DatabaseCall, _iterator: Any, arguments: Arguments) -> None:
        # In place of the iterator, which would never be collected: its call must end with it.
        call.client = _handler(arguments)
        address, port = server(call.client.server_address)
        call.target = self._observer.targets.get(
            self._observed.operation,
            arguments.get("collection_name"),
            namespace=database(arguments),
            address=address,
            port=port,
        )
        call.covers = _own_requests
        call.busy_seconds = 0.0
        call.rows = 0
        call.attributes[names.VECTOR_PAGES] = 0
        call.note(names.VECTOR_FIELD, arguments.get("anns_field") or arguments.get("ann_field"))
        call.set_filter(arguments.get("filter") or arguments.get("expr"))
        call.set_query_text()

    def created(self, method: Callable[..., None]) -> Callable[..., None]:
        """`__init__`, which starts the call."""
        parameters = positional(method)

        def wrapper(iterator: Any, /, *args: Any, **kwargs: Any) -> None:
            arguments = named(parameters, args, kwargs)
            call = self._observer.begin(self._observed, iterator, arguments)
            if call is None:
                return method(iterator, *args, **kwargs)
            try:
                method(iterator, *args, **kwargs)
            except BaseException as error:
                if type(error).__name__ == _FALLBACK:
                    self._observer.discard(call)
                else:
                    self._observer.failed(self._observed, call, error)
                raise
            # What the app does between two pages is none of the iterator's.
            leave(call)
            call.busy_seconds = perf_counter() - call.started
            self._keep(iterator, call)
            return None

        return wrapper

    def _keep(self, iterator: Any, call: DatabaseCall) -> None:
        try:
            self._calls[iterator] = call
            # An iterator that is dropped halfway ends with its last page.
            weakref.finalize(iterator, self._observer.end, call)
        except TypeError as error:
            self._observer.fault(self._observed.operation, error)
            self._observer.end(call)

    def next(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """`next`, which takes a page, or ends the call if the page is empty."""

        def wrapper(iterator: Any, /, *args: Any, **kwargs: Any) -> Any:
            call = self._calls.get(iterator)
            # Made before it was observed, or read beyond its end.
            if call is None or call.ended:
                return method(iterator, *args, **kwargs)
            self._observer.current.enter(call)
            started = perf_counter()
            try:
                page = method(iterator, *args, **kwargs)
            except BaseException as error:
                call.busy_seconds = (call.busy_seconds or 0.0) + perf_counter() - started
                self._observer.failed(self._observed, call, error)
                raise
            call.busy_seconds = (call.busy_seconds or 0.0) + perf_counter() - started
            leave(call)
            self._page(call, page)
            return page

        return wrapper

    def _page(self, call: DatabaseCall, page: Any) -> None:
        try:
            rows = len(page) if page is not None else 0
            if rows:
                call.rows = (call.rows or 0) + rows
                pages = int(call.attributes[names.VECTOR_PAGES]) + 1
                call.attributes[names.VECTOR_PAGES] = pages
                if call.span is not None:
                    call.span.add_event(_PAGE, {names.DB_RETURNED_ROWS: rows})
            else:
                self._observer.end(call)
        except Exception as error:  # noqa: BLE001
            self._observer.fault(self._observed.operation, error)

    def close(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """`close`, which ends the call."""

        def wrapper(iterator: Any, /, *args: Any, **kwargs: Any) -> Any:
            call = self._calls.get(iterator)
            if call is not None:
                self._observer.end(call)
            return method(iterator, *args, **kwargs)

        return wrapper
