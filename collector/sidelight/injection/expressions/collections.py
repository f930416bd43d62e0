"""Expressions over lists, and those that make lists, objects and texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from sidelight.injection.expressions.literals import written
from sidelight.injection.expressions.nodes import EvaluationError, Expression, Scope, as_list


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether a condition holds for an item of a list."""

    of: Expression
    name: str
    condition: Expression

    def evaluate(self, scope: Scope) -> bool:
        items = as_list(self.of.evaluate(scope))
        return any(self.condition.evaluate({**scope, self.name: item}) for item in items)

    def cel(self) -> str:
        return f"{self.of.cel()}.exists({self.name}, {self.condition.cel()})"


@dataclass(frozen=True, slots=True)
class Where:
    """The items of a list for which a condition holds."""

    of: Expression
    name: str
    condition: Expression

    def evaluate(self, scope: Scope) -> list[Any]:
        items = as_list(self.of.evaluate(scope))
        return [item for item in items if self.condition.evaluate({**scope, self.name: item})]

    def cel(self) -> str:
        return f"{self.of.cel()}.filter({self.name}, {self.condition.cel()})"


@dataclass(frozen=True, slots=True)
class Each:
    """A value made of each item of a list."""

    of: Expression
    name: str
    value: Expression

    def evaluate(self, scope: Scope) -> list[Any]:
        items = as_list(self.of.evaluate(scope))
        return [self.value.evaluate({**scope, self.name: item}) for item in items]

    def cel(self) -> str:
        return f"{self.of.cel()}.map({self.name}, {self.value.cel()})"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one type."""

    items: tuple[Expression, ...]

    def evaluate(self, scope: Scope) -> list[Any]:
        return [item.evaluate(scope) for item in self.items]

    def cel(self) -> str:
        return f"[{', '.join(item.cel() for item in self.items)}]"


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """An object with fields of any types."""

    fields: Mapping[str, Expression]

    def evaluate(self, scope: Scope) -> dict[str, Any]:
        return {name: value.evaluate(scope) for name, value in self.fields.items()}

    def cel(self) -> str:
        pairs = (f"{written(name)}: dyn({value.cel()})" for name, value in self.fields.items())
        return "{" + ", ".join(pairs) + "}"


@dataclass(frozen=True, slots=True)
class Joined:
    """Texts or lists, one after the other."""

    parts: tuple[Expression, ...]

    def evaluate(self, scope: Scope) -> Any:
        values = [part.evaluate(scope) for part in self.parts]
        if len({isinstance(value, str) for value in values}) != 1:
            raise EvaluationError("texts and lists cannot be joined")
        return reduce(add, values)

    def cel(self) -> str:
        return f"({' + '.join(part.cel() for part in self.parts)})"


@dataclass(frozen=True, slots=True)
class PatchOperation:
    """An operation of a JSON patch, as the policy's mutations return them."""

    op: str
    path: Expression
    value: Expression

    def evaluate(self, scope: Scope) -> dict[str, Any]:
        path, value = self.path.evaluate(scope), self.value.evaluate(scope)
        return {"op": self.op, "path": path, "value": value}

    def cel(self) -> str:
        path, value = self.path.cel(), self.value.cel()
        return f'JSONPatch{{op: "{self.op}", path: {path}, value: {value}}}'


@dataclass(frozen=True, slots=True)
class When:
    """Operations if a condition holds, otherwise none."""

    condition: Expression
    operations: Expression

    def evaluate(self, scope: Scope) -> Any:
        return self.operations.evaluate(scope) if self.condition.evaluate(scope) else []

    def cel(self) -> str:
        # Not wrapped in dyn(): a policy must return a list of operations.
        return f"({self.condition.cel()} ? {self.operations.cel()} : [])"
