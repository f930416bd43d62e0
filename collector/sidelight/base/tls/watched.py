"""Values read from files that change while the service runs: certificates and tokens."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from sidelight.base.configuration.section import ConfigError

_logger = logging.getLogger(__name__)
T = TypeVar("T")

# A rotated token counts after a little more than a second.
LOOK_SECONDS = 1.0
Stamp = tuple[int, int, int] | None


class Watched(Generic[T]):
    """A value made from files, and made again after one of them has changed.

    A thread looks at the files every `LOOK_SECONDS`, because a file of a network volume may take
    long to answer, and the event loop must not wait for it. They are read again if time, size or
    inode differ (a mounted Kubernetes secret changes by a symbolic link). If they cannot be used,
    the value stays as it was.
    """

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        """Raises what `make` raises: `ConfigError` for files that cannot be used."""
        self._paths = paths
        self._make = make
        self._stamps = self._look()
        self._value = make()
        if paths:
            _watcher.add(self)

    def current(self) -> T:
        """The current value."""
        return self._value

    def renew(self) -> None:
        """Look at the files, and make the value again if they have changed."""
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


class _Watcher:
    """One thread for all values; it ends when none is in use any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: weakref.WeakSet[Watched[Any]] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, value: Watched[Any]) -> None:
        with self._lock:
            self._values.add(value)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sidelight-files", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with self._lock:
                values = list(self._values)
                if not values:
                    self._thread = None
                    return
            for value in values:
                try:
                    value.renew()
                except Exception:
                    # The thread must go on for the other files.
                    _logger.exception(
                        "cannot read files again; the previous content stays in use: check that "
                        "they can be read"
                    )
            # A reference in this frame would keep the last value for ever.
            del value, values


_watcher = _Watcher()


def stamp(path: Path) -> Stamp:
    """Time, size and inode of a file, which change with it; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
