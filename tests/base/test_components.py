"""Component types of other distributions, found by their entry points."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidelight.base.components import registry

GROUP = "sidelight.tests"


@dataclass(frozen=True)
class Component:
    """A type that only has its name."""

    name: str


BUILT_IN = (Component("first"), Component("second"))


def install(folder: Path, name: str, entries: str, code: str = "") -> None:
    """A distribution with one module of its name."""
    metadata = folder / f"{name}-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(entries)
    (folder / f"{name}.py").write_text(code)
    # An import of another thread may have looked into the folder before.
    importlib.invalidate_caches()


def type_of(name: str) -> str:
    """The code of a module whose TYPE has this name."""
    return f"import sys\nTYPE = sys.modules[{__name__!r}].Component({name!r})\n"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders in front on the path."""
    front, back = tmp_path / "front", tmp_path / "back"
    monkeypatch.syspath_prepend(back)
    monkeypatch.syspath_prepend(front)
    return front, back


def found() -> list[str]:
    """The names in the registry."""
    return list(registry(BUILT_IN, GROUP, Component))


def test_without_other_distributions() -> None:
    """Those that are built in, in their order."""
    assert found() == ["first", "second"]


def test_another_distribution(folders: tuple[Path, Path]) -> None:
    """Its type comes last; other groups of entry points are not read."""
    entries = f"[other.group]\na = gone:NOTHING\n\n[{GROUP}]\nthird = sidelight_third:TYPE\n"
    install(folders[0], "sidelight_third", entries, type_of("third"))
    assert found() == ["first", "second", "third"]


def test_a_distribution_that_is_installed_twice(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Only the one in front counts, which Python imports, even if it has no entry points."""
    install(folders[0], "sidelight_fourth", "", "")
    install(folders[1], "sidelight_fourth", f"[{GROUP}]\na = sidelight_fourth:TYPE\n")
    assert found() == ["first", "second"]
    assert not [record for record in caplog.records if record.name.startswith("sidelight.base")]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("", "cannot be loaded"),
        ("TYPE = 5", "it is a int, not a Component"),
        (type_of("second"), "the name 'second' is in use"),
    ],
    ids=["broken", "of another kind", "name in use"],
)
def test_one_that_cannot_be_used(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture, code: str, fault: str
) -> None:
    """It is left out with a warning that names it."""
    install(folders[0], f"sidelight_bad_{len(code)}", "", code)
    (folders[0] / f"sidelight_bad_{len(code)}-1.dist-info" / "entry_points.txt").write_text(
        f"[{GROUP}]\nbad = sidelight_bad_{len(code)}:TYPE\n"
    )
    with caplog.at_level(logging.WARNING):
        assert found() == ["first", "second"]
    assert fault in caplog.text
