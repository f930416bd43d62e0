"""An API server compiles the policy: types of conditions and patch, and literals of one type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from cel_expr_python import cel

from sidelight.injection import mutation, policy, refusals
from sidelight.injection.expressions.collections import ListOf, ObjectOf
from sidelight.injection.expressions.literals import written
from support.injection_settings import default_settings
from support.typed_cel import type_of, types_of_policy


def test_types() -> None:
    """Conditions are true or false, and the patch is a list of operations, not of anything."""
    types = types_of_policy(policy.policy(default_settings()))
    assert types["mutation"] == "LIST<JSONPatch>"
    assert types["settings"] == "MAP<STRING, DYN>"
    for reason in refusals.OF_THE_POD:
        assert types[reason.value.replace("_", "-")] == "BOOL"


def nodes(value: Any) -> Iterator[Any]:
    """An expression and all expressions in it."""
    if is_dataclass(value):
        yield value
        for field in fields(value):
            yield from nodes(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from nodes(item)


def test_literals_have_items_of_one_type() -> None:
    """An API server refuses others, unless they are `dyn`."""
    tree = [
        node
        for expression in (*mutation.variables().values(), mutation.operations())
        for node in nodes(expression)
    ]
    names = {node.name for node in tree if isinstance(getattr(node, "name", None), str)}
    free = {name: cel.Type.DYN for name in names if name.isidentifier() and name != "variables"}
    free |= {f"variables.{name}": cel.Type.DYN for name in [*mutation.variables(), "settings"]}
    lists = [node for node in tree if isinstance(node, ListOf)]
    assert len(lists) > 10
    for node in lists:
        assert len({type_of(item.cel(), free).name() for item in node.items}) == 1
    objects = [node for node in tree if isinstance(node, ObjectOf)]
    assert objects
    for item in objects:
        assert item.cel().count("dyn(") >= len(item.fields)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2], "[1, 2]"),
        (["a", "b"], '["a", "b"]'),
        ([1, "a"], '[dyn(1), dyn("a")]'),
        ([True], "[dyn(true)]"),
        ({"a": None, "b-c": [{}]}, '{"a": dyn(null), "b-c": dyn([dyn({})])}'),
        ('"\\\n\u2028é', '"\\"\\\\\\n\\u2028\\u00e9"'),
    ],
)
def test_written(value: Any, expected: str) -> None:
    """Values as literals; those of several types are wrapped."""
    assert written(value) == expected


def test_only_json_is_written() -> None:
    """A date, for example, has no literal."""
    with pytest.raises(TypeError, match="set has no literal"):
        written({1})
