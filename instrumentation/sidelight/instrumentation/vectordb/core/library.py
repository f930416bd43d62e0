"""Switches the observation of a client library on and off for the whole process.

Importing this module imports neither OpenTelemetry nor a client: `instrument` does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.description import Database
from sidelight.instrumentation.vectordb.core.errors import ClientErrors
from sidelight.instrumentation.vectordb.core.patching import Patches

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sidelight.instrumentation.vectordb.core.observer import CallObserver

_logger = logging.getLogger("sidelight.instrumentation.vectordb")


@dataclass(frozen=True, slots=True)
class ClientLibrary:
    """The client library of a database; `install` replaces its methods."""

    database: Database
    errors: ClientErrors
    install: Callable[[Patches, CallObserver], None]
    _patches: Patches = field(default_factory=Patches)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def instrument(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        settings: Settings | None = None,
    ) -> bool:
        """Observes every client of this library in the process, existing ones included.

        Uses the global providers and the environment's settings unless others are given. Does
        nothing if the library is observed already or `SIDELIGHT_DISABLED` is set. Returns
        whether it is observed now. Raises `ImportError` if the library is not installed.
        """
        from sidelight.instrumentation.vectordb.core.observer import CallObserver

        settings = settings or Settings.from_environment()
        if settings.disabled:
            return False
        distribution, client_version = self._installed()
        with self._lock:
            if self._patches:
                return True
            observer = CallObserver(
                self.database,
                self.errors,
                version=client_version,
                settings=settings,
                tracer_provider=tracer_provider,
                meter_provider=meter_provider,
            )
            try:
                self.install(self._patches, observer)
            except Exception as error:  # noqa: BLE001
                self._patches.undo()
                _warn(distribution, client_version, f"{type(error).__name__} while wrapping them")
                return False
            if self._patches.missing:
                _warn(distribution, client_version, "missing: " + ", ".join(self._patches.missing))
            return bool(self._patches)

    def uninstrument(self) -> None:
        """Restores every original method of the library."""
        with self._lock:
            self._patches.undo()

    def _installed(self) -> tuple[str, str]:
        """Name and version of what is installed. Raises `ImportError` if nothing is."""
        from importlib.metadata import PackageNotFoundError, version

        for distribution in self.database.client.distributions:
            try:
                return distribution, version(distribution)
            except PackageNotFoundError:
                continue
        usual = self.database.client.distributions[0]
        raise ImportError(f"{usual} is not installed: pip install {usual}")


def _warn(distribution: str, client_version: str, problem: str) -> None:
    _logger.warning(
        "Sidelight does not observe all calls of %s %s (%s). docs/vector-databases.md lists the "
        "supported versions.",
        distribution, client_version, problem,
    )  # fmt: skip
