"""What is made of files that change while the service runs: certificates and tokens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from sidelight.base.configuration.section import ConfigError

_logger = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_SECONDS = 1.0
Stamp = tuple[int, int, int] | None


class Watched(Generic[T]):
    """A value made from files, and made again once one of them has changed.

    Files are looked at when the value is asked for, at most once in `LOOK_SECONDS`; they are
    read only if time, size or inode have changed (a mounted Kubernetes secret changes by a
    link that leads elsewhere). Files that cannot be used leave the value as it was.
    """

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        """Raises what `make` raises: `ConfigError` for files that cannot be used."""
        self._paths = paths
        self._make = make
        self._stamps = self._look()
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._value = make()

    def current(self) -> T:
        """The value of now."""
        if self._paths and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._renew()
        return self._value

    def _renew(self) -> None:
        stamps = self._look()
        if stamps == self._stamps:
            return
        # Before reading: what changes in between is seen at the next look.
        self._stamps = stamps
        try:
            self._value = self._make()
        except ConfigError as error:
            _logger.error("%s; the earlier content stays in use", error)
        else:
            _logger.info("reloaded: %s", ", ".join(map(str, self._paths)))

    def _look(self) -> list[Stamp]:
        return [stamp(path) for path in self._paths]


def stamp(path: Path) -> Stamp:
    """Time, size and inode of a file, None if it is not there: differs once it has changed."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
