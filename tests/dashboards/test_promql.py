"""PromQL pieces print what Prometheus means by them."""

from __future__ import annotations

import pytest

from sidelight.dashboards import promql
from sidelight.dashboards.promql import (
    Expr,
    FunctionCall,
    Matcher,
    RangeSelector,
    VectorSelector,
)

HITS = VectorSelector(("hits_total",), (Matcher("job", "=~", "$job"),))
OLD_HITS = VectorSelector(("old_hits_total",))


def _rate(selector: VectorSelector) -> Expr:
    return FunctionCall("rate", (RangeSelector(selector, "5m"),))


class TestVectorSelector:
    def test_one_name_is_written_plainly(self) -> None:
        """A single metric reads as people write it."""
        assert str(HITS) == 'hits_total{job=~"$job"}'
        assert str(OLD_HITS) == "old_hits_total"

    def test_several_names_become_one_matcher(self) -> None:
        """Alternative names that never collide are one selector."""
        both = VectorSelector(("a:x", "b_x"), (Matcher("job", "=", "vllm"),))
        assert str(both) == '{__name__=~"a:x|b_x",job="vllm"}'

    def test_values_are_escaped(self) -> None:
        """A quote, a backslash or a new line cannot end a matcher's string."""
        assert str(Matcher("path", "=~", '\\d"\n')) == 'path=~"\\\\d\\"\\n"'


class TestAlternatives:
    def test_alternatives_are_joined_without_brackets(self) -> None:
        """A chain of `or` stays flat, one alternative a line."""
        chain = promql.either(_rate(HITS), _rate(OLD_HITS), OLD_HITS)
        assert str(chain) == (
            'rate(hits_total{job=~"$job"}[5m])\nor rate(old_hits_total[5m])\nor old_hits_total'
        )

    def test_buckets_are_compared_without_their_bound(self) -> None:
        """An older histogram with other bounds cannot add buckets to the newer one."""
        chain = promql.either(HITS, OLD_HITS, ignoring=("le",))
        assert str(chain) == 'hits_total{job=~"$job"}\nor ignoring (le) old_hits_total'

    def test_a_fallback_needs_the_first_to_be_empty(self) -> None:
        """`on ()` matches anything with anything."""
        assert str(promql.fallback(HITS, OLD_HITS)).endswith("\nor on () old_hits_total")


class TestArithmetic:
    def test_a_ratio_drops_zero_denominators(self) -> None:
        """Idle shows nothing instead of NaN."""
        assert str(promql.ratio(OLD_HITS, OLD_HITS)) == "old_hits_total / (old_hits_total > 0)"

    def test_a_quantile_drops_not_a_number(self) -> None:
        """`histogram_quantile` is NaN without observations."""
        assert str(promql.quantile(0.99, OLD_HITS)) == (
            "histogram_quantile(0.99, old_hits_total) >= 0"
        )

    def test_operands_are_bracketed(self) -> None:
        """Precedence never decides what a panel shows."""
        difference = promql.BinaryOperation(OLD_HITS, "-", OLD_HITS)
        assert str(promql.BinaryOperation(difference, "*", promql.Scalar(2))) == (
            "(old_hits_total - old_hits_total) * 2"
        )


def test_every_metric_read_is_known() -> None:
    """Expressions say which metrics they read, however deeply."""
    expression = promql.fallback(
        promql.ratio(promql.total(_rate(HITS)), promql.total(_rate(OLD_HITS))),
        promql.relabelled(VectorSelector(("other",)), "a", "b"),
    )
    assert list(expression.metrics()) == ["hits_total", "old_hits_total", "other"]


@pytest.mark.parametrize("value", [0.5, 1, 0.001])
def test_numbers_are_short(value: float) -> None:
    """Constants read as people write them."""
    assert float(str(promql.Scalar(value))) == value
    assert len(str(promql.Scalar(value))) <= 5


class TestConditions:
    def test_where_and_unless_compare_labels(self) -> None:
        """A chain of one operator has a line each and no parentheses."""
        busy = promql.above(HITS, 2)
        chain = promql.where(promql.where(busy, OLD_HITS, "job"), HITS, "job", "instance")
        assert str(chain) == (
            '(hits_total{job=~"$job"} > 2)\n'
            "and on (job) old_hits_total\n"
            'and on (job, instance) hits_total{job=~"$job"}'
        )
        assert str(promql.unless(OLD_HITS, HITS)) == (
            'old_hits_total\nunless on () hits_total{job=~"$job"}'
        )

    def test_a_share_of_too_few_is_nothing(self) -> None:
        """With a minimum, the whole must have that many."""
        assert str(promql.ratio(OLD_HITS, HITS, 20)) == (
            'old_hits_total / (hits_total{job=~"$job"} >= 20)'
        )

    def test_an_offset_and_a_subquery(self) -> None:
        """Yesterday's window, and the values of an expression over an hour."""
        yesterday = RangeSelector(OLD_HITS, "5m", "1d")
        assert str(yesterday) == "old_hits_total[5m] offset 1d"
        usual = promql.Subquery(promql.at_zero(OLD_HITS), "1h", "1m")
        assert str(usual) == "(old_hits_total == 0)[1h:1m]"
        assert list(usual.metrics()) == ["old_hits_total"]
