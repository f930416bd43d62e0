"""Alerts on the engine as a machine: does it step, is it there, does it stay up?"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.alerts.alert import (
    AS_COUNT,
    AS_SECONDS,
    ENGINE,
    TARGET,
    THE_ENGINE,
    THE_TARGET,
    Alert,
    AlertGroup,
    labels,
)
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.promql import BinaryOperation, Expr, Matcher, Scalar, Subquery
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

# The first request after a start may compile for a minute.
MAX_STEP_AGE_SECONDS: Final = 120
_DEFERRED: Final = Matcher("reason", "=", "deferred")
_AWAKE: Final = Matcher("sleep_state", "=", "awake")


def group(view: View) -> AlertGroup:
    """Alerts on the engine itself."""
    return AlertGroup(
        "sidelight-engine",
        (
            stalled(view),
            requests_hanging(view),
            asleep(view),
            restarting(view),
            target_down(view),
            target_vanished(view),
            all_targets_vanished(view),
        ),
    )


def stalled(view: View) -> Alert:
    """Requests in hand, and no engine step."""
    engine = view.per(*ENGINE)
    steps = series.total_increase(engine.over("3m"), vllm.ITERATION_TOKENS, part="count")
    stuck = promql.where(promql.above(_at_hand(engine), 0), promql.at_zero(steps), *labels(ENGINE))
    return Alert(
        "SidelightEngineStalled",
        "page",
        f"{AS_COUNT} requests are in {THE_ENGINE}, and it took no step for 3 minutes.",
        "Take a stack trace of the EngineCore process, then restart the pod.",
        promql.unless(stuck, promql.at_zero(_awake(engine)), *labels(ENGINE)),
        wait="2m",
        by=ENGINE,
        panel="Step rate",
    )


def requests_hanging(view: View) -> Alert:
    """Requests came in, and nothing was computed: also for an engine that froze while idle.

    vLLM's own gauges then stay at zero, because it sets them when the engine steps. The heartbeat
    is measured outside of the engine. It does not count requests whose answers are complete and
    whose clients still read them.
    """
    age = series.highest_now(view, own.SERVER_STEP_AGE, "job", "instance")
    return Alert(
        "SidelightRequestsHanging",
        "page",
        f"{THE_TARGET} has had requests for {AS_SECONDS}, and no engine took a step.",
        "Send one request by hand. If it hangs, take a stack trace of EngineCore and restart it.",
        promql.above(age, MAX_STEP_AGE_SECONDS),
        wait="1m",
        by=(),
        panel="Step age",
        board="sidelight-batching",
    )


def asleep(view: View) -> Alert:
    """Requests wait for an engine that was put to sleep."""
    engine = view.per(*ENGINE)
    return Alert(
        "SidelightEngineAsleep",
        "ticket",
        f"{AS_COUNT} requests wait for {THE_ENGINE}, which is asleep.",
        "Wake the engine with POST /wake_up, or take it out of the load balancer.",
        promql.where(
            promql.above(series.total_now(engine, vllm.WAITING), 0),
            promql.at_zero(_awake(engine)),
            *labels(ENGINE),
        ),
        wait="5m",
        by=ENGINE,
        panel="Running and waiting requests",
    )


def restarting(view: View) -> Alert:
    """A server that starts again and again."""
    target = view.per(*TARGET).over("30m")
    resets = _highest(target, vllm.GENERATION_TOKENS, "resets", "total")
    starts = _highest(target, vllm.PROCESS_START, "changes", "value")
    return Alert(
        "SidelightEngineRestarting",
        "ticket",
        f"{THE_TARGET} restarted {AS_COUNT} times within 30 minutes.",
        "Read the log of the previous container: out of memory and failed probes are usual.",
        promql.above(promql.either(_of_vllm(starts, target), resets), 2),
        wait="0m",
        by=TARGET,
        panel="Step rate",
    )


def target_down(view: View) -> Alert:
    """Prometheus knows the server and cannot scrape it."""
    target = view.per(*TARGET)
    down = promql.at_zero(promql.lowest(series.current(target, vllm.UP), *labels(TARGET)))
    return Alert(
        "SidelightTargetDown",
        "ticket",
        f"{THE_TARGET} has not answered a scrape for 5 minutes.",
        "Look whether the pod runs and whether its /metrics answers.",
        promql.where(down, _seen(target.over("6h")), *labels(TARGET)),
        wait="5m",
        by=TARGET,
        panel="Running and waiting requests",
    )


def target_vanished(view: View) -> Alert:
    """A server that is gone, was at work when last seen, and has no replacement.

    One that was scaled down had finished its requests. In a rolling update old and new servers
    are scraped side by side for a while, so the highest number of the last hour would call every
    update a loss; the median does not.
    """
    target = view.per(*TARGET)
    busy = promql.above(_last_seen(target.over("1h")), 0)
    gone = promql.unless(busy, _present(target), *labels(TARGET))
    count = _replicas(view)
    fewer = promql.below(count, _usual(count))
    return Alert(
        "SidelightTargetVanished",
        "ticket",
        f"{THE_TARGET} vanished with {AS_COUNT} running requests, and none replaced it.",
        "Look for evictions and lost nodes among the events of the cluster.",
        promql.where(gone, fewer, *labels(("job",))),
        wait="5m",
        by=TARGET,
        panel="Running and waiting requests",
    )


def all_targets_vanished(view: View) -> Alert:
    """No server of a job is left."""
    count = _replicas(view)
    return Alert(
        "SidelightAllTargetsVanished",
        "page",
        f"All {AS_COUNT} vLLM servers of the job {{{{ $labels.job }}}} vanished.",
        "Look at the deployment and at the service discovery of Prometheus.",
        promql.unless(_usual(count), count, *labels(("job",))),
        wait="5m",
        by=("job",),
        panel="Running and waiting requests",
    )


def _at_hand(view: View) -> Expr:
    """Running requests and those that wait for capacity; one that waits for its KV is no work."""
    waiting = series.total_now(view, vllm.WAITING)
    deferred = series.total_now(view, vllm.WAITING_BY_REASON, _DEFERRED)
    for_capacity = promql.either(BinaryOperation(waiting, "-", deferred), waiting)
    return BinaryOperation(series.total_now(view, vllm.RUNNING), "+", for_capacity)


def _awake(view: View) -> Expr:
    return series.total_now(view, vllm.SLEEP_STATE, _AWAKE)


def _highest(view: View, metric: CatalogMetric, function: str, part: str) -> Expr:
    changes = series.over_window(
        function, view, metric, part="total" if part == "total" else "value"
    )
    return promql.highest(changes, *series.labels(view, metric))


def _of_vllm(expression: Expr, view: View) -> Expr:
    """Only targets that are vLLM servers: any process has a start time."""
    return promql.where(expression, _seen(view), *series.labels(view, vllm.RUNNING))


def _last_seen(view: View) -> Expr:
    """Running requests at the last scrape within the window, also of targets that are gone."""
    last = series.over_window("last_over_time", view, vllm.RUNNING, part="value")
    return series.total(view, vllm.RUNNING, last)


def _seen(view: View) -> Expr:
    last = series.over_window("last_over_time", view, vllm.RUNNING, part="value")
    return promql.Aggregation("group", last, series.labels(view, vllm.RUNNING))


def _present(view: View) -> Expr:
    now = series.current(view, vllm.RUNNING)
    return promql.Aggregation("group", now, series.labels(view, vllm.RUNNING))


def _replicas(view: View) -> Expr:
    """vLLM servers that are scraped, by job."""
    return promql.Aggregation("count", _present(view.per(*TARGET)), ("job",))


def _usual(count: Expr) -> Expr:
    return promql.FunctionCall("quantile_over_time", (Scalar(0.5), Subquery(count, "1h", "1m")))
