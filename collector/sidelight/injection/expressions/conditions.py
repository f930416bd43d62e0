"""Expressions that are true or false, and the choice between two values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import re2

from sidelight.injection.expressions.literals import written
from sidelight.injection.expressions.nodes import Expression, Scope, as_list, as_text


@dataclass(frozen=True, slots=True)
class Matches:
    """Whether a regular expression matches somewhere in a text.

    CEL's are RE2's. Python's own mean other things by a space and by the end of a text.
    """

    of: Expression
    pattern: str

    def evaluate(self, scope: Scope) -> bool:
        return re2.search(self.pattern, as_text(self.of.evaluate(scope))) is not None

    def cel(self) -> str:
        return f"{self.of.cel()}.matches({written(self.pattern)})"


@dataclass(frozen=True, slots=True)
class Contains:
    """Whether a text contains another one."""

    of: Expression
    part: Expression

    def evaluate(self, scope: Scope) -> bool:
        return as_text(self.part.evaluate(scope)) in as_text(self.of.evaluate(scope))

    def cel(self) -> str:
        return f"{self.of.cel()}.contains({self.part.cel()})"


@dataclass(frozen=True, slots=True)
class In:
    """Whether a list has an item."""

    item: Expression
    of: Expression

    def evaluate(self, scope: Scope) -> bool:
        return self.item.evaluate(scope) in as_list(self.of.evaluate(scope))

    def cel(self) -> str:
        return f"({self.item.cel()} in {self.of.cel()})"


@dataclass(frozen=True, slots=True)
class Equal:
    """Whether two values are equal."""

    left: Expression
    right: Expression

    def evaluate(self, scope: Scope) -> bool:
        return bool(self.left.evaluate(scope) == self.right.evaluate(scope))

    def cel(self) -> str:
        return f"({self.left.cel()} == {self.right.cel()})"


@dataclass(frozen=True, slots=True)
class Less:
    """Whether a number is less than another one."""

    left: Expression
    right: Expression

    def evaluate(self, scope: Scope) -> bool:
        return bool(self.left.evaluate(scope) < self.right.evaluate(scope))

    def cel(self) -> str:
        return f"({self.left.cel()} < {self.right.cel()})"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    of: Expression

    def evaluate(self, scope: Scope) -> bool:
        return not self.of.evaluate(scope)

    def cel(self) -> str:
        return f"!({self.of.cel()})"


@dataclass(frozen=True, slots=True)
class Every:
    """Whether all of some conditions hold. The first one that does not decides."""

    conditions: tuple[Expression, ...]

    def evaluate(self, scope: Scope) -> bool:
        return all(condition.evaluate(scope) for condition in self.conditions)

    def cel(self) -> str:
        return f"({' && '.join(condition.cel() for condition in self.conditions)})"


@dataclass(frozen=True, slots=True)
class Some:
    """Whether one of some conditions holds. The first one that does decides."""

    conditions: tuple[Expression, ...]

    def evaluate(self, scope: Scope) -> bool:
        return any(condition.evaluate(scope) for condition in self.conditions)

    def cel(self) -> str:
        return f"({' || '.join(condition.cel() for condition in self.conditions)})"


@dataclass(frozen=True, slots=True)
class If:
    """One of two values."""

    condition: Expression
    value: Expression
    otherwise: Expression

    def evaluate(self, scope: Scope) -> Any:
        return (self.value if self.condition.evaluate(scope) else self.otherwise).evaluate(scope)

    def cel(self) -> str:
        # An API server refuses branches of different types.
        value, otherwise = f"dyn({self.value.cel()})", f"dyn({self.otherwise.cel()})"
        return f"({self.condition.cel()} ? {value} : {otherwise})"


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The text beside the first condition that holds, or else another one."""

    cases: tuple[tuple[Expression, str], ...]
    otherwise: str

    def evaluate(self, scope: Scope) -> str:
        texts = (text for condition, text in self.cases if condition.evaluate(scope))
        return next(texts, self.otherwise)

    def cel(self) -> str:
        # In a row and without brackets: parsers of CEL limit how deep expressions are nested.
        cases = (f"{condition.cel()} ? {written(text)} : " for condition, text in self.cases)
        return f"({''.join(cases)}{written(self.otherwise)})"
