"""Every name has what its page needs, and the parts that emit it are those that say so."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidelight import conventions as names
from support.paths import DOCS, ROOT

INSTRUMENTATION = ROOT / "instrumentation" / "sidelight" / "instrumentation"
DEFINITIONS: list[names.Attribute | names.Metric] = [
    *names.ATTRIBUTES.values(),
    *names.METRICS.values(),
]
PARTS = {names.definitions.VLLM: "vllm", names.definitions.CLIENTS: "vectordb"}


def used(folder: Path) -> set[str]:
    """The names of `conventions` that the code of a folder refers to, by their values."""
    constants = {
        node.attr
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("names", "c", "conventions")
    }
    return {name for constant in constants for name in held(getattr(names, constant, ""))}


def held(constant: object) -> list[str]:
    """The names that a constant stands for: one, or those of a table."""
    values = constant.values() if isinstance(constant, dict) else [constant]
    return [value for value in values if isinstance(value, str)]


def emitted(part: str) -> set[str]:
    """The names that say that this part emits them."""
    return {definition.name for definition in DEFINITIONS if part in definition.emitters}


def test_the_pages_are_the_generated_ones(tmp_path: Path) -> None:
    """`make names` would change nothing."""
    pages = ("names.md", "vllm.md")
    for page in pages:
        shutil.copy(DOCS / page, tmp_path)
    subprocess.run([sys.executable, ROOT / "scripts" / "names_pages.py", tmp_path], check=True)
    for page in pages:
        assert (DOCS / page).read_text() == (tmp_path / page).read_text()


@pytest.mark.parametrize("part", PARTS)
def test_emitters(part: str) -> None:
    """A part refers to the names that it emits, and to no other attribute or metric."""
    in_code = used(INSTRUMENTATION / PARTS[part]) & {*names.ATTRIBUTES, *names.METRICS}
    assert in_code == emitted(part)


def test_every_name_is_complete() -> None:
    """Each has a group, an emitter, and a meaning that ends as a sentence does."""
    for definition in DEFINITIONS:
        assert definition.group
        assert definition.emitters
        assert re.fullmatch(r".+[.…]", definition.meaning), definition.name


def test_constants_and_registered_names_are_the_same() -> None:
    """No name is registered without a constant, and no two constants share an attribute."""
    constants = [value for key, value in vars(names).items() if key.isupper()]
    values = [name for value in constants for name in held(value)]
    registered = {*names.ATTRIBUTES, *names.METRICS}
    assert registered <= set(values)
    both = {*names.ATTRIBUTES} & {*names.METRICS}
    for name in registered - both:
        assert values.count(name) == 1, name
