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
from sidelight.instrumentation.vectordb.core.call import Call
from sidelight.instrumentation.vectordb.core.observer import Observer, Operation, Values
from sidelight.instrumentation.vectordb.core.patching import Patches, named, positional
from sidelight.instrumentation.vectordb.milvus.calls import database, server

# Each where it is now, and where it was up to pymilvus 2.5.
_CLASSES: Final = (
    ("search_iterator", ("pymilvus.client.iterator.search_iterator:SearchIteratorV2",
                         "pymilvus.client.search_iterator:SearchIteratorV2")),
    ("search_iterator", ("pymilvus.client.iterator.search_iterator:SearchIterator",
                         "pymilvus.orm.iterator:SearchIterator")),
    ("query_iterator", ("pymilvus.client.iterator.query_iterator:QueryIterator",
                        "pymilvus.orm.iterator:QueryIterator")),
)  # fmt: skip
_PAGE: Final = "db.vector.iterator.page"
# pymilvus tries the second version of the search iterator and falls back to the first.
_FALLBACK: Final = "ServerVersionIncompatibleException"


def observe_iterators(patches: Patches, observer: Observer) -> None:
    """Observes the iterators of every client API of pymilvus, which share these classes."""
    for name, paths in _CLASSES:
        iterator = patches.find(*paths)
        if iterator is not None:
            observed = _Iterators(observer, name)
            patches.replace(iterator, "__init__", observed.created)
            patches.replace(iterator, "next", observed.next)
            patches.replace(iterator, "close", observed.close)


def _own_requests(values: Values) -> bool:
    """Whether a handler call is the iterator's: a filter function of the app may make others."""
    return bool(values.get("iterator")) or _handler(values) is not None


def _handler(values: Values) -> Any:
    """What an iterator sends its requests through, as pymilvus calls it now or did up to 2.5."""
    return values.get("handler") or values.get("connection")


class _Iterators:
    """The living iterators of one class, each with the call that its span belongs to."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer = observer
        self._operation = Operation(name, self._describe)
        self._calls: weakref.WeakKeyDictionary[Any, Call] = weakref.WeakKeyDictionary()

    def _describe(self, call: Call, _iterator: Any, values: Values) -> None:
        address, port = server(_handler(values).server_address)
        call.target = self._observer.target(
            self._operation.name,
            values.get("collection_name"),
            namespace=database(values),
            address=address,
            port=port,
            retrieval=self._operation.name == "search_iterator",
        )
        call.covers = _own_requests
        call.busy = 0.0
        call.rows = 0
        call.attributes[names.VECTOR_PAGES] = 0
        call.note(names.VECTOR_FIELD, values.get("anns_field") or values.get("ann_field"))
        call.filtered(values.get("filter") or values.get("expr"))
        call.asked()

    def created(self, method: Callable[..., None]) -> Callable[..., None]:
        """`__init__`, which starts the call."""
        parameters = positional(method)

        def wrapper(iterator: Any, /, *args: Any, **kwargs: Any) -> None:
            values = named(parameters, args, kwargs)
            call = self._observer.begin(self._operation, iterator, values)
            if call is None:
                return method(iterator, *args, **kwargs)
            try:
                method(iterator, *args, **kwargs)
            except BaseException as error:
                if type(error).__name__ == _FALLBACK:
                    self._observer.discard(call)
                else:
                    self._observer.failed(self._operation, call, error)
                raise
            self._observer.leave(call)
            call.busy = perf_counter() - call.started
            self._keep(iterator, call)
            return None

        return wrapper

    def _keep(self, iterator: Any, call: Call) -> None:
        try:
            self._calls[iterator] = call
            # An iterator that is dropped halfway ends with its last page.
            weakref.finalize(iterator, self._observer.end, call)
        except TypeError as error:
            self._observer.fault(self._operation.name, error)
            self._observer.end(call)

    def next(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """`next`, which takes a page, or ends the call if the page is empty."""

        def wrapper(iterator: Any, /, *args: Any, **kwargs: Any) -> Any:
            call = self._calls.get(iterator)
            if call is None or call.ended:
                return method(iterator, *args, **kwargs)
            self._observer.enter(call)
            started = perf_counter()
            try:
                page = method(iterator, *args, **kwargs)
            except BaseException as error:
                call.busy = (call.busy or 0.0) + perf_counter() - started
                self._observer.failed(self._operation, call, error)
                raise
            call.busy = (call.busy or 0.0) + perf_counter() - started
            self._observer.leave(call)
            self._page(call, page)
            return page

        return wrapper

    def _page(self, call: Call, page: Any) -> None:
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
            self._observer.fault(self._operation.name, error)

    def close(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """`close`, which ends the call."""

        def wrapper(iterator: Any, /, *args: Any, **kwargs: Any) -> Any:
            call = self._calls.get(iterator)
            if call is not None:
                self._observer.end(call)
            return method(iterator, *args, **kwargs)

        return wrapper
