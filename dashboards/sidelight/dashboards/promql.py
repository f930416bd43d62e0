"""PromQL as typed pieces: build an expression from parts, print it once.

Every piece knows which metrics it reads (`Expr.metrics`), so that a panel can be checked
against the catalog before anything is published.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

MatchOperator = Literal["=", "!=", "=~", "!~"]
_SET_OPERATORS: Final = ("or", "and", "unless")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label matcher, for instance `job=~"$job"`."""

    label: str
    operator: MatchOperator
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{_quoted(self.value)}"


class Expr:
    """Any PromQL expression; `str()` prints it."""

    __slots__ = ()

    def parts(self) -> tuple[Expr, ...]:
        """The expressions this one is made of."""
        return ()

    def metrics(self) -> Iterator[str]:
        """Names of all metrics read, in the order they are written."""
        for part in self.parts():
            yield from part.metrics()


@dataclass(frozen=True, slots=True)
class Scalar(Expr):
    """A constant."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True, slots=True)
class VectorSelector(Expr):
    """Series of one metric, or of several alternative names that never collide."""

    names: tuple[str, ...]
    matchers: tuple[Matcher, ...] = ()

    def metrics(self) -> Iterator[str]:
        yield from self.names

    def __str__(self) -> str:
        if len(self.names) == 1:
            labels = ",".join(map(str, self.matchers))
            return f"{self.names[0]}{{{labels}}}" if labels else self.names[0]
        any_name = Matcher("__name__", "=~", "|".join(self.names))
        return "{" + ",".join(map(str, (any_name, *self.matchers))) + "}"


@dataclass(frozen=True, slots=True)
class RangeSelector(Expr):
    """A range vector; `offset` says how long before the evaluation it ends."""

    selector: VectorSelector
    length: str
    offset: str = ""

    def parts(self) -> tuple[Expr, ...]:
        return (self.selector,)

    def __str__(self) -> str:
        suffix = f" offset {self.offset}" if self.offset else ""
        return f"{self.selector}[{self.length}]{suffix}"


@dataclass(frozen=True, slots=True)
class Subquery(Expr):
    """The values of an expression over a time, one each `step`."""

    inner: Expr
    length: str
    step: str

    def parts(self) -> tuple[Expr, ...]:
        return (self.inner,)

    def __str__(self) -> str:
        return f"({self.inner})[{self.length}:{self.step}]"


@dataclass(frozen=True, slots=True)
class FunctionCall(Expr):
    """A function call; string arguments are quoted."""

    function: str
    arguments: tuple[Expr | str, ...]

    def parts(self) -> tuple[Expr, ...]:
        return tuple(part for part in self.arguments if isinstance(part, Expr))

    def __str__(self) -> str:
        printed = (
            str(argument) if isinstance(argument, Expr) else _quoted(argument)
            for argument in self.arguments
        )
        return f"{self.function}({', '.join(printed)})"


@dataclass(frozen=True, slots=True)
class Aggregation(Expr):
    """`sum by (…)` and the like; `keep` says whether the labels are kept or dropped."""

    operator: str
    inner: Expr
    labels: tuple[str, ...] = ()
    keep: Literal["by", "without"] = "by"

    def parts(self) -> tuple[Expr, ...]:
        return (self.inner,)

    def __str__(self) -> str:
        if self.keep == "by" and not self.labels:
            return f"{self.operator}({self.inner})"
        return f"{self.operator} {self.keep} ({', '.join(self.labels)}) ({self.inner})"


@dataclass(frozen=True, slots=True)
class BinaryOperation(Expr):
    """Two expressions and an operator; nested operations are put in parentheses."""

    left: Expr
    operator: str
    right: Expr
    matching: str = ""

    def parts(self) -> tuple[Expr, ...]:
        return (self.left, self.right)

    def __str__(self) -> str:
        operator = f"{self.operator} {self.matching}" if self.matching else self.operator
        # Chains of set operations are long: one operand a line, no parentheses within a chain.
        if self.operator in _SET_OPERATORS:
            chained = isinstance(self.left, BinaryOperation) and self.left.operator == self.operator
            left = str(self.left) if chained else _parenthesised(self.left)
            return f"{left}\n{operator} {_parenthesised(self.right)}"
        return f"{_parenthesised(self.left)} {operator} {_parenthesised(self.right)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _operand(value: Expr | float) -> Expr:
    return value if isinstance(value, Expr) else Scalar(value)


def _parenthesised(expression: Expr) -> str:
    return f"({expression})" if isinstance(expression, BinaryOperation) else str(expression)


def total(inner: Expr, *by: str) -> Expr:
    """Sum, grouped by the given labels."""
    return Aggregation("sum", inner, by)


def highest(inner: Expr, *by: str) -> Expr:
    """Maximum, grouped by the given labels."""
    return Aggregation("max", inner, by)


def lowest(inner: Expr, *by: str) -> Expr:
    """Minimum, grouped by the given labels."""
    return Aggregation("min", inner, by)


def above(inner: Expr, bound: Expr | float) -> Expr:
    """The series whose value is above a bound."""
    return BinaryOperation(inner, ">", _operand(bound))


def at_least(inner: Expr, bound: Expr | float) -> Expr:
    """The series whose value is a bound or more."""
    return BinaryOperation(inner, ">=", _operand(bound))


def below(inner: Expr, bound: Expr | float) -> Expr:
    """The series whose value is below a bound."""
    return BinaryOperation(inner, "<", _operand(bound))


def at_zero(inner: Expr) -> Expr:
    """The series whose value is zero."""
    return BinaryOperation(inner, "==", Scalar(0))


def times(inner: Expr, factor: float) -> Expr:
    """The value of each series, multiplied."""
    return BinaryOperation(Scalar(factor), "*", inner)


def where(first: Expr, condition: Expr, *on: str) -> Expr:
    """Series of the first for which the condition has one with the same labels `on`."""
    return BinaryOperation(first, "and", condition, f"on ({', '.join(on)})")


def unless(first: Expr, exception: Expr, *on: str) -> Expr:
    """Series of the first for which the exception has none with the same labels `on`."""
    return BinaryOperation(first, "unless", exception, f"on ({', '.join(on)})")


def either(first: Expr, *others: Expr, ignoring: tuple[str, ...] = ()) -> Expr:
    """Series of the first; of the others only those whose labels the ones before do not have.

    `or` compares all labels but the name. So two names of one metric count once for an engine
    that exports both, and engines that export only the older name are included. `ignoring`
    leaves labels out of the comparison, such as `le` if the two names have different buckets.
    """
    matching = f"ignoring ({', '.join(ignoring)})" if ignoring else ""
    chain = first
    for other in others:
        chain = BinaryOperation(chain, "or", other, matching)
    return chain


def fallback(preferred: Expr, otherwise: Expr, *on: str) -> Expr:
    """The second expression only where the first returns nothing with the same labels `on`."""
    return BinaryOperation(preferred, "or", otherwise, f"on ({', '.join(on)})")


def ratio(part: Expr, whole: Expr, minimum: float = 0) -> Expr:
    """part / whole; nothing (not NaN) where whole is zero, or less than a minimum."""
    enough = at_least(whole, minimum) if minimum else above(whole, 0)
    return BinaryOperation(part, "/", enough)


def quantile(share: float, buckets: Expr) -> Expr:
    """Quantile of a classic histogram from totals of its buckets; nothing (not NaN) when idle.

    `buckets` is grouped by `le` and by what else tells histograms apart.
    """
    return BinaryOperation(
        FunctionCall("histogram_quantile", (Scalar(share), buckets)), ">=", Scalar(0)
    )


def zero_unless(events: Expr, observed: Expr, *by: str) -> Expr:
    """Events, or a zero where none happened although something was observed.

    A counter with a label for the kind of event has no series before the first event, and
    "nothing bad happened" must not look like "nothing is measured". `observed` is a total
    grouped by `by`; events can have more labels than that.
    """
    return BinaryOperation(
        events, "or", BinaryOperation(observed, "*", Scalar(0)), f"on ({', '.join(by)})"
    )


def relabelled(inner: Expr, target: str, source: str) -> Expr:
    """The value of label `source` also under the name `target`."""
    # `label_replace` would need `$1`, which Helm, Grafana's provisioning and shells each take
    # for a variable of their own.
    return FunctionCall("label_join", (inner, target, "", source))
