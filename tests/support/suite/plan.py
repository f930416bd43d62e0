"""How a run is divided among processes: which tests stay together, and which come first.

Tests of one file stay together, because they share what the file's fixtures have started. Tests
that share a server of the whole run, or what Helm has rendered, stay together wherever they are,
so that it starts once. A slow test that shares nothing is a unit of its own, so that no process
waits for another at the end. Long units come first, for the same reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import pytest

VLLM = "vllm"
# Fixtures of the whole run that start a real server or keep what takes long to make, and the
# environments they need.
SHARED = {"guarded_phoenix": "phoenix", "shared_vllm": VLLM, "renderings": "helm-4"}
_SHARING_SCOPES = ("module", "package", "session")
# What pytest and its plugins bring; it holds nothing that takes time to start.
_CHEAP_FIXTURES = ("tmp_path_factory", "event_loop_policy", "pytestconfig", "lite")


@dataclass(frozen=True, slots=True)
class Unit:
    """Tests that one process runs, one after the other."""

    name: str
    environments: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All units of a run, in the order in which they are to start."""

    units: tuple[Unit, ...]

    @property
    def environments(self) -> tuple[str, ...]:
        """The Python environments that the run needs, the ones needed first in front."""
        return tuple(dict.fromkeys(name for unit in self.units for name in unit.environments))

    def write(self, path: Path) -> None:
        """Keep the plan in a file."""
        path.write_text(json.dumps([asdict(unit) for unit in self.units]))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan that `write` has kept."""
        return cls(
            tuple(
                Unit(unit["name"], tuple(unit["environments"]), tuple(unit["tests"]))
                for unit in json.loads(path.read_text())
            )
        )


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """These tests, with each that has the mark `last(fixture)` behind all others with the fixture.

    Without it a test that ends a server would have to be in the last file, by its name or on the
    command line.
    """
    order = list(items)
    for fixture in SHARED:
        marked = [item for item in order if fixture in _ends(item)]
        others = [item for item in order if fixture not in _ends(item)]
        users = [place for place, item in enumerate(others) if fixture in _fixtures(item)]
        if marked and users:
            order = others[: users[-1] + 1] + marked + others[users[-1] + 1 :]
    return order


def _ends(item: pytest.Item) -> set[str]:
    return {name for mark in item.iter_markers("last") for name in mark.args}


def _fixtures(item: pytest.Item) -> tuple[str, ...]:
    return getattr(item, "fixturenames", ())


def make_plan(items: Iterable[pytest.Item]) -> Plan:
    """Divide these tests. Raises `pytest.UsageError` for a mark `real` that lacks a name."""
    members: dict[str, list[pytest.Item]] = {}
    for item in items:
        members.setdefault(_unit_name(item), []).append(item)
    ranked = sorted(members.items(), key=lambda member: _rank(member[1]))
    return Plan(
        tuple(
            Unit(
                name,
                tuple(sorted({need for item in items for need in environments_of(item)})),
                tuple(item.nodeid for item in items),
            )
            for name, items in ranked
        )
    )


def environments_of(item: pytest.Item) -> tuple[str, ...]:
    """The Python environments that the test's marks `real` name."""
    names: set[str] = set()
    for mark in item.iter_markers("real"):
        if not mark.args:
            raise pytest.UsageError(f"{item.nodeid}: the mark `real` names no server")
        names.update(mark.args)
    return tuple(sorted(names - _INSTALLED_BY_DEBIAN))


# They are real, and are no Python environments.
_INSTALLED_BY_DEBIAN = {"prometheus", "alertmanager", "chromium", "node"}


def _unit_name(item: pytest.Item) -> str:
    for name, environment in SHARED.items():
        if name in _fixtures(item):
            if environment not in environments_of(item):
                raise pytest.UsageError(f'{item.nodeid}: not marked real("{environment}")')
            return name
    if _is_long(item) and not _shares(item):
        return item.nodeid
    return item.nodeid.partition("::")[0]


def _is_long(item: pytest.Item) -> bool:
    return any(item.iter_markers("real")) or any(item.iter_markers("slow"))


def _shares(item: pytest.Item) -> bool:
    """Whether a fixture of the test serves other tests too."""
    if not isinstance(item, pytest.Function):
        return True
    definitions = item._fixtureinfo.name2fixturedefs
    return any(
        found[-1].scope in _SHARING_SCOPES
        for name, found in definitions.items()
        if name not in _CHEAP_FIXTURES and not name.startswith("_")
    )


def _rank(items: list[pytest.Item]) -> tuple[bool, bool, float, int]:
    """What sorts units: those with vLLM, then other long ones, then the rest; of each kind those
    whose tests may take longest first, then those with the most tests.
    """
    needs_vllm = any(VLLM in environments_of(item) for item in items)
    # A test that is given more time than others takes more.
    longest = max(_timeout_seconds(item) for item in items)
    return (not needs_vllm, not any(map(_is_long, items)), -longest, -len(items))


def _timeout_seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark and mark.args else 0.0
