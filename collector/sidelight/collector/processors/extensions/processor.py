"""Runs the user's own functions on spans: each takes a span and returns it, changed or not."""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.base.configuration.section import ConfigError
from sidelight.base.error_place import error_place
from sidelight.collector.processors.common.processed import Processed
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
    """An imported function, and its faults."""

    name: str
    call: Call
    scopes: tuple[str, ...] = ()
    """Prefixes of the instrumentation scopes whose spans it gets; none: all."""
    faults: int = field(default=0)
    """Faults in a row."""

    @property
    def is_off(self) -> bool:
        """Whether it was switched off."""
        return self.faults >= MAX_FAULTS

    def apply(self, item: bytes) -> bytes | None:
        """The serialised span that the function returns, None if it drops the span.

        Raises whatever the function raises, and `TypeError` or `ValueError` if it returns
        anything that is not a span with valid ids.
        """
        # A copy of its own: what it changes before it raises is not stored.
        made = self.call(Span.FromString(item))
        if made is None:
            return None
        if not isinstance(made, Span):
            raise TypeError("an extension must return the span or None")
        data = made.SerializeToString()
        # Ids were checked before, and one bad id costs a whole batch at some backends.
        fault = ids.fault(data)
        if fault is not None:
            raise ValueError(fault)
        return data


def load(section: Extension) -> LoadedExtension:
    """Import the function of a configuration. Raises `ConfigError` if that fails."""
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
        raise ConfigError(f"{where}: {module_name} has no function {function}")
    return LoadedExtension(section.call, call, section.scopes)


def extend(
    extensions: Sequence[LoadedExtension], scope_name: str, scope: Scopes, processed: Processed
) -> None:
    """Apply the extensions to the spans of a scope, in their order."""
    for extension in extensions:
        if extension.scopes and not scope_name.startswith(extension.scopes):
            continue
        dropped: list[int] = []
        for index, item in enumerate(scope.items):
            # A span of this very request may have switched it off.
            if extension.is_off:
                break
            made = _guarded(extension, item, processed.extension_faults)
            if made is None:
                dropped.append(index)
            elif made != item:
                scope.items[index] = made
                processed.changed = True
        # From the end: deleting one moves those behind it.
        for index in reversed(dropped):
            del scope.items[index]
            processed.dropped[extension.name] += 1
            processed.changed = True


def _guarded(extension: LoadedExtension, item: bytes, faults: Counter[str]) -> bytes | None:
    """The span after the extension, or unchanged if the extension fails."""
    try:
        made = extension.apply(item)
    except Exception as error:  # noqa: BLE001 (the code of others may raise anything)
        faults[extension.name] += 1
        extension.faults += 1
        if extension.is_off:
            _logger.error(
                "extension %s switched off after %d consecutive faults, the last one %s; "
                "fix it and restart",
                extension.name,
                extension.faults,
                error_place(error),
            )
        return item
    extension.faults = 0
    return made
