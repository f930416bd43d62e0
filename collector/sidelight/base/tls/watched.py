"""Values read from files that change while the service runs: certificates and tokens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from sidelight.base.configuration.section import ConfigError

_logger = logging.getLogger(__name__)
T = TypeVar("T")

# A rotated token counts after a second at most, and a thousand requests share one look.
LOOK_SECONDS = 1.0
Stamp = tuple[int, int, int] | None


class Watched(Generic[T]):
    """A value made from files, and made again after one of them has changed.

    Using the value looks at the files, at most once in `LOOK_SECONDS`. They are read again if
    time, size or inode differ (a mounted Kubernetes secret changes by a symbolic link). If they
    cannot be used, the value stays as it was.
    """

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        """Raises what `make` raises: `ConfigError` for files that cannot be used."""
        self._paths = paths
        self._make = make
        self._stamps = self._look()
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._value = make()

    def current(self) -> T:
        """The current value."""
        if self._paths and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._renew()
        return self._value

    def _renew(self) -> None:
        stamps = self._look()
        if stamps == self._stamps:
            return
        # Before reading: a change in between is then seen at the next look.
        self._stamps = stamps
        try:
            self._value = self._make()
        except ConfigError as error:
            # An unusable file must not close a port that works: it may be half written.
            _logger.error("%s; the previous content stays in use", error)
        else:
            _logger.info("reloaded: %s", ", ".join(map(str, self._paths)))

    def _look(self) -> list[Stamp]:
        return [stamp(path) for path in self._paths]


def stamp(path: Path) -> Stamp:
    """Time, size and inode of a file, which change with it; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
