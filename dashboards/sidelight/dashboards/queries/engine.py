"""The engine as a machine: its process, for restarts and for the values of variables."""

from __future__ import annotations

from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.promql import BinaryOperation, Expr, Scalar, highest
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
