"""Finds the component types of other distributions by their entry points."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Protocol, TypeVar

_logger = logging.getLogger(__name__)


class Named(Protocol):
    """A type of component, with the name that the configuration uses."""

    @property
    def name(self) -> str:
        """The name, unique within its registry."""


NamedT = TypeVar("NamedT", bound=Named)


def registry(
    built_in: Iterable[NamedT], group: str, component_type: type[NamedT]
) -> dict[str, NamedT]:
    """The types by name: `built_in` in their order, then those of the entry point `group`.

    An entry point that cannot be loaded, that is not a `component_type` or whose name is in
    use is left out with a warning: a broken plugin must not stop a collector that does not
    use it.
    """
    types = {component.name: component for component in built_in}
    # Sorted, because the order of entry points depends on the installation.
    for entry_point in sorted(_entry_points(group), key=lambda point: point.value):
        try:
            loaded = entry_point.load()
        except Exception as error:  # noqa: BLE001 (foreign code may raise anything)
            _logger.warning(
                "entry point %s of group %s cannot be loaded: %s", entry_point.value, group, error
            )
            continue
        if not isinstance(loaded, component_type):
            _logger.warning(
                "entry point %s of group %s ignored: it is a %s, not a %s",
                entry_point.value,
                group,
                type(loaded).__name__,
                component_type.__name__,
            )
        elif types.setdefault(loaded.name, loaded) is not loaded:
            _logger.warning(
                "entry point %s of group %s ignored: the name %r is in use",
                entry_point.value,
                group,
                loaded.name,
            )
    return types


def _entry_points(group: str) -> Iterable[EntryPoint]:
    # entry_points() parses those of the whole environment. Rarely does one have this group.
    texts = (distribution.read_text("entry_points.txt") for distribution in distributions())
    return entry_points(group=group) if any(f"[{group}]" in (text or "") for text in texts) else ()
