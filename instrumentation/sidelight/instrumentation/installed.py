"""Observes every supported client library that is installed.

vLLM loads its plugin by itself; its server imports this package but none of the databases.
"""

from __future__ import annotations

import importlib.util
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sidelight.instrumentation.settings import Settings

_REQUIRED: Final = ("opentelemetry", "wrapt")

_logger = logging.getLogger(__name__)


def instrument(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    settings: Settings | None = None,
) -> tuple[str, ...]:
    """Observes every supported client library that is installed; returns their packages.

    Imports none of them: each is observed as soon as the app has imported it. Uses the global
    OpenTelemetry providers and the environment's settings unless others are given. Call it once,
    after the providers are set; a second call changes nothing.
    """
    from sidelight.instrumentation.vectordb.registry import LIBRARIES

    missing = [name for name in _REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        _logger.warning(
            "Sidelight: %s not installed, so no client of a vector database is observed. "
            "Run: pip install 'sidelight[vectordb]'", " and ".join(missing),
        )  # fmt: skip
        return ()
    packages = []
    for library in LIBRARIES:
        # A folder of that name, or a package that was copied into the app.
        with suppress(ImportError):
            if library.instrument(tracer_provider, meter_provider, settings):
                packages.append(library.database.client.package)
    return tuple(packages)


def uninstrument() -> None:
    """Restores every original method that `instrument` replaced."""
    from sidelight.instrumentation.vectordb.registry import LIBRARIES

    for library in LIBRARIES:
        library.uninstrument()
