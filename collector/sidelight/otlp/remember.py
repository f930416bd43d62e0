"""A cache for answers about what senders choose: bounded in bytes, not only in entries."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MAX_BYTES = 4096
"""Arguments longer than this together are worked on again each time and never kept."""


def remembered(maxsize: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`functools.lru_cache` for functions of names and serialised messages.

    A name or a resource may be megabytes long; 512 of them in a plain cache fill the memory.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached: Callable[..., R] = lru_cache(maxsize=maxsize)(function)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> R:
            size = 0
            for argument in args:
                # A tuple of types: a union takes three times as long, and this is asked often.
                if isinstance(argument, (bytes, str)):
                    size += len(argument)
                elif isinstance(argument, tuple):
                    size += sum(len(part) for part in argument)
            return cached(*args, **kwargs) if size <= MAX_BYTES else function(*args, **kwargs)

        return call

    return decorate
