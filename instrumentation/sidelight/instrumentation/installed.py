"""Observes every supported client library that is installed.

vLLM loads its plugin by itself; its server imports this package but none of the databases.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sidelight.instrumentation.settings import Settings
    from sidelight.instrumentation.vectordb.core.library import ClientLibrary


def instrument(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> tuple[str, ...]:
    """Observes every supported client library that is installed; returns their packages.

    Skips a package that cannot be imported. Uses the global OpenTelemetry providers and the
    environment's settings unless others are given. Call it once, after the providers are set; a
    second call changes nothing.
    """
    packages = []
    for library in _installed():
        # A folder of that name, or a package that was copied into the app.
        with suppress(ImportError):
            if library.instrument(tracer_provider, meter_provider, settings):
                packages.append(library.database.client.package)
    return tuple(packages)


def uninstrument() -> None:
    """Restores every original method that `instrument` replaced."""
    for library in _installed():
        library.uninstrument()


def _installed() -> Iterator[ClientLibrary]:
    from sidelight.instrumentation.vectordb.registry import LIBRARIES

    for library in LIBRARIES:
        if find_spec(library.database.client.package) is not None:
            yield library
