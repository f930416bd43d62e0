"""The user's own callables on spans: named in the configuration, span in, span out."""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.processors.common.processed import Processed, place
from sidelight.collector.processors.extensions.config import Extension
from sidelight.collector.processors.limits import ids
from sidelight.otlp.otlp_pb2 import Scopes

_logger = logging.getLogger(__name__)

Call = Callable[[Span], Span | None]
"""Gets a copy of a span and returns it, changed or not, or None to drop it."""

MAX_FAULTS = 10
"""Faults in a row after which an extension is switched off."""


@dataclass(slots=True)
class LoadedExtension:
    """One callable, and how it fares."""

    name: str
    call: Call
    scopes: tuple[str, ...] = ()
    """Beginnings of the instrumentation scopes it is for; none: all."""
    faults: int = field(default=0)
    """Faults in a row."""

    @property
    def is_off(self) -> bool:
        """Whether it was switched off."""
        return self.faults >= MAX_FAULTS

    def apply(self, item: bytes) -> bytes | None:
        """A serialised span after the callable, None if it drops it.

        Raises whatever the callable raises, and `TypeError` or `ValueError` for what it
        returns if that is no span that can be kept.
        """
        made = self.call(Span.FromString(item))
        if made is None:
            return None
        if not isinstance(made, Span):
            raise TypeError("an extension must return the span or None")
        data = made.SerializeToString()
        fault = ids.fault(data)
        if fault is not None:
            raise ValueError(fault)
        return data


def load(section: Extension) -> LoadedExtension:
    """The extension of a configuration. Raises `ConfigError` if it cannot be had."""
    module_name, _, function = section.call.partition(":")
    where = f"processors.extensions: {section.call}"
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"{where}: {module_name} cannot be imported ({type(error).__name__}: {error}); "
            "install it beside Sidelight or put its folder on PYTHONPATH"
        ) from error
    call = getattr(module, function, None)
    if not callable(call):
        raise ConfigError(f"{where}: {module_name} has no callable {function}")
    return LoadedExtension(section.call, call, section.scopes)


def extend(
    extensions: Sequence[LoadedExtension], scope_name: str, scope: Scopes, processed: Processed
) -> None:
    """Put the spans of a scope through the extensions that are for it, in their order."""
    for extension in extensions:
        if extension.scopes and not scope_name.startswith(extension.scopes):
            continue
        dropped: list[int] = []
        for index, item in enumerate(scope.items):
            if extension.is_off:
                break
            made = _guarded(extension, item, processed.extension_faults)
            if made is None:
                dropped.append(index)
            elif made != item:
                scope.items[index] = made
                processed.changed = True
        for index in reversed(dropped):
            del scope.items[index]
            processed.dropped[extension.name] += 1
            processed.changed = True


def _guarded(extension: LoadedExtension, item: bytes, faults: Counter[str]) -> bytes | None:
    """The span after the extension; as it was if that fails."""
    try:
        made = extension.apply(item)
    except Exception as error:  # noqa: BLE001 (the code of others may raise anything)
        faults[extension.name] += 1
        extension.faults += 1
        if extension.is_off:
            _logger.error(
                "the extension %s is switched off after %d faults in a row, the last a %s; "
                "mend it and restart",
                extension.name,
                extension.faults,
                place(error),
            )
        return item
    extension.faults = 0
    return made
