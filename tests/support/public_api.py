"""What users of Sidelight rely on: names, signatures, entry points, commands and variables.

`make generated` writes the list to tests/public_api.txt.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import distribution
from types import ModuleType

import click

import sidelight.instrumentation.settings
from sidelight.collector.cli.main import sidelight as command
from sidelight.collector.destinations.common.outcome import Exporter
from sidelight.collector.destinations.common.type import DestinationType
from sidelight.collector.receivers.common.type import Receiver, ReceiverContext, ReceiverType

# What apps import.
_MODULES = (
    "sidelight.instrumentation",
    "sidelight.instrumentation.settings",
    "sidelight.instrumentation.vectordb",
    "sidelight.instrumentation.vectordb.chroma",
    "sidelight.instrumentation.vectordb.milvus",
    "sidelight.instrumentation.vectordb.qdrant",
)
# What distributions with components of their own implement or are given.
_COMPONENT_TYPES = (DestinationType, Exporter, Receiver, ReceiverContext, ReceiverType)


def lines() -> list[str]:
    """The whole list, sorted within each part."""
    parts = (
        _names(),
        _component_types(),
        _entry_points(),
        _commands(command, "sidelight"),
        _variables(),
    )
    return [line for part in parts for line in sorted(part)]


def _names() -> Iterator[str]:
    for name in _MODULES:
        module = import_module(name)
        for public in _exported(module):
            value = getattr(module, public)
            signature = inspect.signature(value) if callable(value) else ""
            yield f"import {name}: {public}{signature}"


def _exported(module: ModuleType) -> list[str]:
    """What a module says it exports, else what it defines under a public name."""
    if (exported := getattr(module, "__all__", None)) is not None:
        return list(exported)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _component_types() -> Iterator[str]:
    for kind in _COMPONENT_TYPES:
        members = getattr(kind, "__dataclass_fields__", None) or vars(kind)
        for member in members:
            if not member.startswith("_"):
                yield f"component {kind.__module__}: {kind.__name__}.{member}"


def _entry_points() -> Iterator[str]:
    for point in distribution("sidelight").entry_points:
        yield f"entry point {point.group}: {point.name}"


def _commands(current: click.Command, path: str) -> Iterator[str]:
    arguments = []
    for parameter in current.params:
        if isinstance(parameter, click.Argument):
            arguments.append(parameter.make_metavar(click.Context(current)))
        else:
            arguments.append(f"[{'|'.join(parameter.opts)}]")
    yield " ".join(["command", path, *arguments])
    if isinstance(current, click.Group):
        for name, inner in current.commands.items():
            yield from _commands(inner, f"{path} {name}")


def _variables() -> Iterator[str]:
    """Those of the observed process; the collector's are made from its configuration."""
    page = sidelight.instrumentation.settings.__doc__ or ""
    for name in re.findall(r"^\| `(SIDELIGHT_\w+)`", page, re.MULTILINE):
        yield f"variable {name}"


if __name__ == "__main__":
    print(*lines(), sep="\n")
