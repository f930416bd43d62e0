"""The engine as a machine: its process, for restarts and for the values of variables."""

from __future__ import annotations

from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.promql import (
    Aggregation,
    BinaryOperation,
    Expr,
    FunctionCall,
    Scalar,
    highest,
    ratio,
    unless,
    where,
)
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View


def restarts(view: View) -> Expr:
    """vLLM servers that restarted within the window, by `instance`.

    A counter that starts again from zero shows it in every set-up; the start time of the
    process is missing where vLLM runs several API servers, but also shows a restart before
    the first request.
    """
    reset = series.over_window("resets", view, vllm.GENERATION_TOKENS)
    started = series.over_window("changes", view, vllm.PROCESS_START, part="value")
    return BinaryOperation(
        BinaryOperation(highest(reset, "instance"), ">", Scalar(0)),
        "or",
        BinaryOperation(highest(started, "instance"), ">", Scalar(0)),
    )


def added(view: View) -> Expr:
    """vLLM servers that were not there a window earlier, by `instance`: a deployment began them."""
    return _only(view, view.before(view.window))


def removed(view: View) -> Expr:
    """vLLM servers that were there a window earlier, by `instance`, and not in this one."""
    return _only(view.before(view.window), view)


def _only(view: View, other: View) -> Expr:
    present, absent = (
        highest(
            series.over_window("present_over_time", one, vllm.RUNNING, part="value"), "instance"
        )
        for one in (view, other)
    )
    return unless(present, absent, "instance")


def servers(view: View) -> Expr:
    """vLLM servers that are scraped."""
    running = series.current(view, vllm.RUNNING)
    each = Aggregation("group", running, series.labels(view.per("job", "instance"), vllm.RUNNING))
    return Aggregation("count", each, series.labels(view, vllm.RUNNING))


def load_spread(view: View) -> Expr:
    """Running requests of the busiest replica or rank, as a multiple of the mean."""
    running = series.over_window("avg_over_time", view, vllm.RUNNING, part="value")
    labels = series.labels(view, vllm.RUNNING)
    return ratio(highest(running, *labels), Aggregation("avg", running, labels))


def uptime(view: View) -> Expr:
    """Seconds since each vLLM server started, by `instance`."""
    started = highest(series.current(view, vllm.PROCESS_START), "instance")
    seen = Aggregation("group", series.current(view, vllm.RUNNING), ("instance",))
    return where(BinaryOperation(FunctionCall("time", ()), "-", started), seen, "instance")
