"""How one method of a client is observed: two plain functions around it.

The first reads the method's arguments into a `DatabaseCall`, the second reads what the method
returned into the same call. They are written once; `CallObserver` drives them for sync and async
clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sidelight.instrumentation.vectordb.core.call import Arguments, DatabaseCall
from sidelight.instrumentation.vectordb.core.description import Operation

DescribeCall = Callable[[DatabaseCall, Any, Arguments], None]
"""Gets the call, the client and the arguments by name; sets `call.target`."""
DescribeResult = Callable[[DatabaseCall, Any], None]
"""Gets the call and what the method returned."""


class Deferred(Protocol):
    """A future that tells when it is done."""

    def add_done_callback(self, callback: Callable[[Any], object], /) -> object:
        """Calls `callback` with the future once it is done."""


def nothing(_call: DatabaseCall, _result: Any) -> None:
    """Describes a result that says nothing worth keeping."""


@dataclass(frozen=True, slots=True)
class ObservedMethod:
    """One method of a client and how its calls are described.

    A call that returns before it is done sets `call.deferred`; `future_of(result)` then finds the
    future, and `settle(call, future)` describes its outcome.
    """

    operation: str
    describe_call: DescribeCall
    describe_result: DescribeResult = nothing
    span_on_failure_only: bool = False
    future_of: Callable[[Any], Deferred | None] | None = None
    settle: DescribeResult = nothing


class Reader(NamedTuple):
    """What reads the arguments and the result of a method."""

    describe_call: DescribeCall
    describe_result: DescribeResult = nothing


def observed_methods(
    operations: Iterable[Operation],
    readers: Mapping[str, Reader],
    plain: Callable[[str], DescribeCall],
    *,
    future_of: Callable[[Any], Deferred | None] | None = None,
    settle: DescribeResult = nothing,
) -> dict[str, ObservedMethod]:
    """The methods of `operations` by name, each with its reader.

    A method without one says no more than its collection, which `plain(operation)` reads.
    Raises `ValueError` for a reader of a method that no operation has.
    """
    methods: dict[str, ObservedMethod] = {}
    for operation in operations:
        for name in operation.methods:
            reader = readers.get(name) or Reader(plain(operation.name))
            methods[name] = ObservedMethod(
                operation.name,
                reader.describe_call,
                reader.describe_result,
                operation.span_on_failure_only,
                future_of,
                settle,
            )
    if unknown := readers.keys() - methods.keys():
        raise ValueError(f"no operation is described for {', '.join(sorted(unknown))}")
    return methods
