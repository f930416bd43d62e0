"""Says what an installed client has of its description, and what observing it leaves changed.

Started with the Python of an environment that has the client:
`python -m support.vectordb.inspect_client DATABASE` prints JSON.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Any

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.description import WrappedClasses
from sidelight.instrumentation.vectordb.registry import LIBRARIES


@dataclass(frozen=True)
class Inspection:
    """An installed client, as its description sees it."""

    version: str
    # `module:Class.method` of the described methods that a class has, named by the first class of
    # those that share them.
    methods: tuple[str, ...]
    # Attributes that observing replaces, and those of them that are not restored.
    replaced: tuple[str, ...]
    left_replaced: tuple[str, ...]

    @classmethod
    def from_json(cls, text: str) -> Inspection:
        """The inspection that this program printed."""
        fields = json.loads(text)
        return cls(
            fields["version"],
            tuple(fields["methods"]),
            tuple(fields["replaced"]),
            tuple(fields["left_replaced"]),
        )


def main() -> None:
    """Inspects one client in this process."""
    (library,) = (each for each in LIBRARIES if each.database.name == sys.argv[1])
    client = library.database.client
    methods: set[str] = set()
    for wrapped in client.wrapped:
        for paths in wrapped.classes:
            owner = first_of(paths)
            if owner is not None:
                named = {name for operation in wrapped.operations for name in operation.methods}
                methods |= {qualified(wrapped, name) for name in named & vars(owner).keys()}
    before = _attributes(client.package)
    assert library.instrument(settings=Settings())
    during = _attributes(client.package)
    library.uninstrument()
    after = _attributes(client.package)
    inspection = Inspection(
        version(client.distributions[0]),
        tuple(sorted(methods)),
        tuple(sorted(_differences(before, during))),
        tuple(sorted(_differences(before, after))),
    )
    sys.stdout.write(json.dumps(asdict(inspection)))


def qualified(wrapped: WrappedClasses, method: str) -> str:
    """A method of classes that share it, by the newest path of the first class."""
    return f"{wrapped.classes[0][0]}.{method}"


def first_of(paths: tuple[str, ...]) -> Any | None:
    """The first of the classes that there is."""
    for path in paths:
        module, _, name = path.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
    return None


def _attributes(package: str) -> dict[str, Any]:
    """Every attribute of every module and class of a package that is loaded."""
    return {
        f"{owner}.{name}": value
        for owner, attributes in _owners(package)
        for name, value in attributes.items()
    }


def _owners(package: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, module in list(sys.modules.items()):
        if path.split(".")[0] == package and isinstance(module, ModuleType):
            functions = {
                name: value for name, value in vars(module).items() if inspect.isroutine(value)
            }
            yield path, functions
            for name, value in list(vars(module).items()):
                if inspect.isclass(value) and value.__module__ == path:
                    yield f"{path}.{name}", dict(vars(value))


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in before.keys() | after.keys():
        # By identity: an equal function is not the original.
        if name in before and after.get(name) is not before[name]:
            yield name


if __name__ == "__main__":
    main()
