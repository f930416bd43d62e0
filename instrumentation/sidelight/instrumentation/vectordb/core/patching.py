"""Wraps the methods of a client library, and restores them."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sidelight.instrumentation.imports import exists
from sidelight.instrumentation.vectordb.core.description import WrappedClasses

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.method import ObservedMethod
    from sidelight.instrumentation.vectordb.core.observer import CallObserver


class Patches:
    """The methods replaced so far; `undo` restores each original, the last one first.

    What another library has put around a method after that stays, and ours in it does no more
    than call the original.

    `missing` names what a client library is expected to have and does not.
    """

    def __init__(self) -> None:
        # Owner, name, the original and what replaced it.
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._observers: list[CallObserver] = []
        # Owners by id, each of which `_undo` keeps alive.
        self._replaced: set[tuple[int, str]] = set()
        self.missing: list[str] = []

    def __len__(self) -> int:
        return len(self._undo)

    def find(self, *paths: str) -> Any | None:
        """The first class or module of `package.module:Name`s that has been imported.

        None if there is none of them yet, and the first is missing if there will be none.
        """
        may_come = False
        for path in paths:
            module, _, name = path.partition(":")
            loaded: Any = sys.modules.get(module)
            if loaded is None:
                may_come = may_come or exists(module)
            elif not name:
                return loaded
            elif hasattr(loaded, name):
                return getattr(loaded, name)
        if not may_come:
            self.missing.append(paths[0])
        return None

    def find_classes(self, wrapped: WrappedClasses) -> Iterator[Any]:
        """The classes of `wrapped` that there are; what should be and is not is `missing`."""
        for paths in wrapped.classes:
            owner = self.find(*paths)
            if owner is None:
                continue
            # Of the other methods, each version has its own selection.
            if not inspect.isroutine(vars(owner).get(wrapped.essential)):
                self.missing.append(f"{owner.__module__}:{owner.__qualname__}.{wrapped.essential}")
            yield owner

    def replace(
        self, owner: Any, name: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> bool:
        """Puts what `wrapped` makes of it in place of the function `owner.name`.

        A plain function with the original's signature: a wrapt proxy adds a microsecond to each
        call. False if there is no such function.
        """
        # Not by `getattr`: what a base class has is replaced there.
        original = vars(owner).get(name)
        if not inspect.isroutine(original) or (id(owner), name) in self._replaced:
            return False
        self._put(owner, name, original, functools.wraps(original)(wrapped(original)))
        return True

    def observe(
        self,
        wrapped: WrappedClasses,
        observer: CallObserver,
        methods: Mapping[str, ObservedMethod],
    ) -> None:
        """Observes the methods of the classes of `wrapped` that this client version has.

        Skips a method that a class lacks; an essential one is added to `missing`.
        """
        if observer not in self._observers:
            self._observers.append(observer)
        for owner in self.find_classes(wrapped):
            for name, observed in methods.items():
                wrapper = _async if inspect.iscoroutinefunction(vars(owner).get(name)) else _sync
                self.replace(owner, name, functools.partial(wrapper, observer, observed))

    def replace_property(self, owner: Any, name: str, change: Callable[[Any], Any]) -> None:
        """Passes what the property `owner.name` returns through `change`."""
        original = vars(owner).get(name)
        if not isinstance(original, property) or original.fget is None:
            return
        if (id(owner), name) in self._replaced:
            return
        # A property has no name to replace its function by.
        read = original.fget
        changed = property(lambda self: change(read(self)), doc=original.__doc__)
        self._put(owner, name, original, changed)

    def forget(self, module: str) -> None:
        """Lets the functions of a module be replaced again, which a reload has made new."""
        owner = id(sys.modules.get(module))
        self._replaced = {place for place in self._replaced if place[0] != owner}

    def undo(self) -> None:
        """Restores every original."""
        self.missing.clear()
        self._replaced.clear()
        while self._observers:
            # A wrapper that another library has kept goes on calling ours.
            self._observers.pop().stop()
        while self._undo:
            owner, name, original, ours = self._undo.pop()
            if vars(owner).get(name) is ours:
                setattr(owner, name, original)

    def _put(self, owner: Any, name: str, original: Any, ours: Any) -> None:
        setattr(owner, name, ours)
        self._undo.append((owner, name, original, ours))
        self._replaced.add((id(owner), name))


def positional(method: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters that can be given by position, without `self`."""
    kinds: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(method).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)[1:]


def named(
    parameters: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name, `parameters` being those that `args` may be for."""
    return {**dict(zip(parameters, args, strict=False)), **kwargs}


# A method is bound as Python would: another library may have put a descriptor of its own there.


def _sync(
    observer: CallObserver, observed: ObservedMethod, method: Callable[..., Any]
) -> Callable[..., Any]:
    parameters = positional(method)
    bind = method.__get__

    def wrapper(client: Any, /, *args: Any, **kwargs: Any) -> Any:
        arguments = named(parameters, args, kwargs) if args else kwargs
        bound = bind(client, type(client))
        return observer.call(observed, client, arguments, bound, args, kwargs)

    return wrapper


def _async(
    observer: CallObserver, observed: ObservedMethod, method: Callable[..., Any]
) -> Callable[..., Any]:
    parameters = positional(method)
    bind = method.__get__

    async def wrapper(client: Any, /, *args: Any, **kwargs: Any) -> Any:
        arguments = named(parameters, args, kwargs) if args else kwargs
        bound = bind(client, type(client))
        return await observer.call_async(observed, client, arguments, bound, args, kwargs)

    return wrapper
