"""Switches the observation of a client library on and off for the whole process.

Importing this module imports neither OpenTelemetry nor a client: `instrument` does.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidelight.instrumentation.imports import ImportHooks, is_imported
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.description import Database
from sidelight.instrumentation.vectordb.core.errors import ClientErrors
from sidelight.instrumentation.vectordb.core.patching import Patches

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sidelight.instrumentation.vectordb.core.observer import CallObserver

_logger = logging.getLogger("sidelight.instrumentation.vectordb")


Prepare = Callable[[Patches, "CallObserver"], Callable[[], None]]
"""Makes what replaces the methods of the modules that have been imported by then. The result is
called again whenever another one has been."""


@dataclass(slots=True)
class _Observation:
    """What a library is observed with, from `instrument` to `uninstrument`."""

    settings: Settings
    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    # None until a module of the library has been imported.
    install: Callable[[], None] | None = None
    is_warned: bool = False


@dataclass(frozen=True, slots=True)
class ClientLibrary:
    """The client library of a database; what `prepare` makes replaces its methods."""

    database: Database
    errors: ClientErrors
    prepare: Prepare
    modules: tuple[str, ...] = ()
    """Modules in which methods are replaced, beside those of the database's wrapped classes."""
    _patches: Patches = field(default_factory=Patches)
    _hooks: ImportHooks = field(default_factory=ImportHooks)
    _observation: list[_Observation] = field(default_factory=list)
    # Taken again where what fails to install is undone.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def instrument(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        settings: Settings | None = None,
    ) -> bool:
        """Observes every client of this library in the process, existing ones included.

        Does not import the library: its methods are replaced as soon as the app has imported it.
        Uses the global providers and the environment's settings unless others are given. Does
        nothing if the library is observed already or `SIDELIGHT_DISABLED` is set. Returns
        whether it is observed now. Raises `ImportError` if the library is not installed.
        """
        settings = settings or Settings.from_environment()
        if settings.disabled:
            return False
        # Before anything is watched, so that a missing client is told where it was asked for.
        self._installed()
        with self._lock:
            if self._observation:
                return True
            self._observation.append(_Observation(settings, tracer_provider, meter_provider))
            self._hooks.watch(self._watched(), self._imported)
        # An app may import its clients first and switch on later: nothing would tell of those.
        if self.database.client.package in sys.modules:
            self._install()
        return bool(self._observation)

    def uninstrument(self) -> None:
        """Restores every original method of the library."""
        with self._lock:
            self._hooks.stop()
            self._observation.clear()
            self._patches.undo()

    def _watched(self) -> frozenset[str]:
        paths = (
            path
            for wrapped in self.database.client.wrapped
            for paths in wrapped.classes
            for path in paths
        )
        modules = (path.partition(":")[0] for path in paths)
        return frozenset((self.database.client.package, *self.modules, *modules))

    def _imported(self, module: str) -> None:
        """A module of the library has been imported or reloaded. Never raises."""
        try:
            with self._lock:
                self._patches.forget(module)
            # For all modules, as a class may be found under another path once this one is there.
            self._install()
        except Exception:  # noqa: BLE001 (the app must not see it)
            # Raised here, it would be an error of the app's `import`.
            _logger.debug("an imported module could not be observed")

    def _install(self) -> None:
        """Replaces the methods of the modules that have been imported by now."""
        # Outside the lock, as another thread may hold the lock of these modules.
        from sidelight.instrumentation.vectordb.core.observer import CallObserver

        with self._lock:
            if not self._observation:
                return
            (observation,) = self._observation
            distribution, client_version = self._installed()
            try:
                # Once, as an observer remembers what it learned of collections.
                if observation.install is None:
                    observer = CallObserver(
                        self.database,
                        self.errors,
                        version=client_version,
                        settings=observation.settings,
                        tracer_provider=observation.tracer_provider,
                        meter_provider=observation.meter_provider,
                    )
                    observation.install = self.prepare(self._patches, observer)
                self._patches.missing.clear()
                observation.install()
            except Exception as error:  # noqa: BLE001
                self.uninstrument()
                _warn(distribution, client_version, f"{type(error).__name__} while wrapping them")
                return
            # While the package is being imported, what is missing may still come.
            if (
                self._patches.missing
                and not observation.is_warned
                and is_imported(self.database.client.package)
            ):
                observation.is_warned = True
                _warn(distribution, client_version, "missing: " + ", ".join(self._patches.missing))

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
