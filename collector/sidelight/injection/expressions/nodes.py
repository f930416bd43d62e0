"""Expressions that Python evaluates and that are written as CEL: values, fields, items.

CEL is the language of Kubernetes' admission policies: https://cel.dev. Only what every API server
from 1.36 on and the tests' evaluator have is here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sidelight.injection.expressions.literals import written

Scope = Mapping[str, Any]
"""The values of variables while an expression is evaluated."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EvaluationError(Exception):
    """A value is not of the kind that an expression needs, as in a malformed pod."""


class Expression(Protocol):
    """Something with a value."""

    def evaluate(self, scope: Scope, /) -> Any:
        """The value in Python. Raises `EvaluationError` where CEL would fail."""

    def cel(self) -> str:
        """The same in CEL."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is always the same."""

    value: Any

    def evaluate(self, _scope: Scope) -> Any:
        return self.value

    def cel(self) -> str:
        return written(self.value)


@dataclass(frozen=True, slots=True)
class Name:
    """A variable of the API server's, or of an expression around this one."""

    name: str

    def evaluate(self, scope: Scope) -> Any:
        return scope[self.name]

    def cel(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Variable:
    """A named expression of the policy, listed before what uses it."""

    name: str

    def evaluate(self, scope: Scope) -> Any:
        return scope["variables"][self.name]

    def cel(self) -> str:
        return f"variables.{self.name}"


@dataclass(frozen=True, slots=True)
class Has:
    """Whether an object has a field."""

    of: Expression
    name: str

    def evaluate(self, scope: Scope) -> bool:
        return self.name in as_mapping(self.of.evaluate(scope))

    def cel(self) -> str:
        if _IDENTIFIER.fullmatch(self.name):
            return f"has({self.of.cel()}.{self.name})"
        return f"{written(self.name)} in {self.of.cel()}"


@dataclass(frozen=True, slots=True)
class Required:
    """A field that every object of its kind has."""

    of: Expression
    name: str

    def evaluate(self, scope: Scope) -> Any:
        fields = as_mapping(self.of.evaluate(scope))
        if self.name not in fields:
            raise EvaluationError(f"no {self.name}")
        return fields[self.name]

    def cel(self) -> str:
        return f"{self.of.cel()}.{self.name}"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object, or `default` if the object does not have it."""

    of: Expression
    name: str
    default: Any

    def evaluate(self, scope: Scope) -> Any:
        return as_mapping(self.of.evaluate(scope)).get(self.name, self.default)

    def cel(self) -> str:
        of = self.of.cel()
        default = written(self.default)
        if _IDENTIFIER.fullmatch(self.name):
            return f"(has({of}.{self.name}) ? {of}.{self.name} : {default})"
        key = written(self.name)
        return f"({key} in {of} ? {of}[{key}] : {default})"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list."""

    of: Expression
    index: Expression

    def evaluate(self, scope: Scope) -> Any:
        items, index = as_list(self.of.evaluate(scope)), self.index.evaluate(scope)
        if not 0 <= index < len(items):
            raise EvaluationError(f"no item {index}")
        return items[index]

    def cel(self) -> str:
        return f"{self.of.cel()}[{self.index.cel()}]"


@dataclass(frozen=True, slots=True)
class Size:
    """The number of items of a list."""

    of: Expression

    def evaluate(self, scope: Scope) -> int:
        return len(as_list(self.of.evaluate(scope)))

    def cel(self) -> str:
        return f"size({self.of.cel()})"


@dataclass(frozen=True, slots=True)
class Text:
    """A number as text."""

    of: Expression

    def evaluate(self, scope: Scope) -> str:
        return str(self.of.evaluate(scope))

    def cel(self) -> str:
        return f"string({self.of.cel()})"


def as_mapping(value: Any) -> Mapping[str, Any]:
    """`value`, if it is an object of a manifest. Raises `EvaluationError`."""
    if not isinstance(value, Mapping):
        raise EvaluationError("an object is needed")
    return value


def as_list(value: Any) -> list[Any]:
    """`value`, if it is a list. Raises `EvaluationError`."""
    if not isinstance(value, list):
        raise EvaluationError("a list is needed")
    return value


def as_text(value: Any) -> str:
    """`value`, if it is a text. Raises `EvaluationError`."""
    if not isinstance(value, str):
        raise EvaluationError("a text is needed")
    return value
