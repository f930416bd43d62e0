"""Puts observers around the methods of a client library, and takes every one off again."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

import wrapt

from sidelight.instrumentation.vectordb.operation import Observer, Operation

_logger = logging.getLogger("sidelight.instrumentation.vectordb")


class Patches:
    """The methods replaced so far; `undo` restores each original, the youngest first."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def __len__(self) -> int:
        return len(self._undo)

    def replace(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> bool:
        """Wraps `owner.name` with a wrapt wrapper; False if there is no such attribute."""
        original = vars(owner).get(name)
        if original is None:
            return False
        setattr(owner, name, wrapt.FunctionWrapper(original, wrapper))
        self._undo.append((owner, name, original))
        return True

    def observe(self, owner: Any, observer: Observer, table: Mapping[str, Operation]) -> None:
        """Observes the methods in `table`; one that this client version lacks is left out."""
        for name, operation in table.items():
            method = vars(owner).get(name)
            if not inspect.isroutine(method):
                continue
            if inspect.iscoroutinefunction(method):
                wrapper = _async_wrapper(observer, operation, positional(method))
            else:
                wrapper = _sync_wrapper(observer, operation, positional(method))
            self.replace(owner, name, wrapper)

    def replace_property(self, owner: Any, name: str, change: Callable[[Any], Any]) -> None:
        """Passes what the property `owner.name` returns through `change`."""
        original = vars(owner).get(name)
        if not isinstance(original, property) or original.fget is None:
            return
        read = original.fget
        setattr(owner, name, property(lambda self: change(read(self)), doc=original.__doc__))
        self._undo.append((owner, name, original))

    def undo(self) -> None:
        """Restores every original."""
        while self._undo:
            owner, name, original = self._undo.pop()
            setattr(owner, name, original)


def find(path: str) -> Any | None:
    """The class or module at `package.module:Name`; None, with one log line, if it is gone."""
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        return getattr(found, name) if name else found
    except (ImportError, AttributeError) as error:
        _logger.warning(
            "Sidelight does not find %s (%s); its calls are not observed. "
            "This client version may be newer than the ones tested.",
            path, error,
        )  # fmt: skip
        return None


def positional(method: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters that can be given by position, without `self`."""
    kinds: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(method).parameters.values()
    return tuple(one.name for one in parameters if one.kind in kinds)[1:]


def _sync_wrapper(
    observer: Observer, operation: Operation, names: tuple[str, ...]
) -> Callable[..., Any]:
    def wrapper(
        method: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        values = {**dict(zip(names, args, strict=False)), **kwargs} if args else kwargs
        return observer.call(operation, client, values, method, args, kwargs)

    return wrapper


def _async_wrapper(
    observer: Observer, operation: Operation, names: tuple[str, ...]
) -> Callable[..., Any]:
    async def wrapper(
        method: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        values = {**dict(zip(names, args, strict=False)), **kwargs} if args else kwargs
        return await observer.call_async(operation, client, values, method, args, kwargs)

    return wrapper
