"""One word for one thing: what the names in the code may not do."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from support.paths import ROOT

SOURCES = ("instrumentation", "dashboards", "collector")
# Each component has one, and is asked for it by its folder: that is the interface.
INTERFACE = {"Config", "Exporter", "Check", "Receiver"}
# Upper bounds are called MAX_…; these words were used for them before.
BOUNDS = re.compile(r"^_?(MOST|LONGEST|LARGEST|HIGHEST)_[A-Z]")
MAX_LINES = 400


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the product, generated ones left out."""
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            if not path.name.endswith("_pb2.py"):
                yield path.relative_to(ROOT), ast.parse(path.read_text())


def test_no_two_classes_have_one_name() -> None:
    """A reader who looks a name up finds one thing."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path, module in modules():
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path))
    twice = {
        name: paths
        for name, paths in places.items()
        if len(paths) > 1 and name not in INTERFACE and not name.startswith("_")
    }
    assert twice == {}


def test_bounds_are_called_max() -> None:
    """So that they are found by one search."""
    wrong = [
        f"{path}: {target.id}"
        for path, module in modules()
        for node in module.body
        for target in (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if isinstance(target, ast.Name) and BOUNDS.match(target.id)
    ]
    assert wrong == []


def test_no_file_needs_a_table_of_contents() -> None:
    """A longer file is two files, also one of tests."""
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in (*SOURCES, "tests", "scripts", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if not path.name.endswith("_pb2.py")
        and (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_packages_hold_no_logic() -> None:
    """An `__init__.py` names what the package is, and may name what it offers."""
    allowed = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign)
    wrong = [
        f"{path}:{node.lineno}"
        for path, module in modules()
        if path.name == "__init__.py"
        for node in module.body
        if not isinstance(node, allowed)
    ]
    assert wrong == []
