"""What Milvus servers say of themselves. Times are in milliseconds, as Milvus exports them."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog import milvus
from sidelight.dashboards.promql import Aggregation, Expr, Matcher, where
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

# Each request counts as `total` when it arrives and once more by how it ended.
_ARRIVED: Final = Matcher(milvus.STATUS, "=", "total")
_FAILED: Final = Matcher(milvus.STATUS, "!~", "total|success")
_SEARCH: Final = Matcher(milvus.QUERY_TYPE, "=~", ".*search")


def requests(view: View) -> Expr:
    """Requests per second, by function."""
    return series.total_rate(view, milvus.REQUESTS, _ARRIVED, by=(milvus.FUNCTION,))


def failed_requests(view: View) -> Expr:
    """Requests per second that did not succeed, by function and status."""
    failed = series.total_rate(view, milvus.REQUESTS, _FAILED, by=(milvus.FUNCTION, milvus.STATUS))
    return series.or_zero(view, failed, milvus.REQUESTS, milvus.REQUESTS)


def search_latency_quantile(view: View, share: float) -> Expr:
    """Quantile of the time that a search takes in the server."""
    return series.quantile(view, milvus.SEARCH_LATENCY, share, _SEARCH)


def mean_queue_time(view: View) -> Expr:
    """Mean time that a search or query waits in the queue of a query node."""
    return series.mean(view, milvus.QUEUE_LATENCY)


def mean_consistency_wait(view: View) -> Expr:
    """Mean time that a search or query waits for the writes that it must see."""
    return series.mean(view, milvus.CONSISTENCY_LATENCY)


def mean_core_time(view: View) -> Expr:
    """Mean time that a search or query takes in the index."""
    return series.mean(view, milvus.CORE_LATENCY)


def mean_reduce_time(view: View) -> Expr:
    """Mean time that the proxy takes to merge results."""
    return series.mean(view, milvus.REDUCE_LATENCY)


def running_tasks(view: View) -> Expr:
    """Searches and queries that query nodes work on."""
    return series.total_now(view, milvus.TASKS_RUNNING)


def waiting_tasks(view: View) -> Expr:
    """Searches and queries that wait for query nodes."""
    return series.total_now(view, milvus.TASKS_READY)


def loaded_segments(view: View) -> Expr:
    """Segments that are loaded, by state."""
    segments = series.current(view, milvus.SEGMENTS)
    return series.total(view, milvus.SEGMENTS, segments, milvus.SEGMENT_STATE)


def process_memory(view: View) -> Expr:
    """Resident bytes of each Milvus process, by `instance`."""
    nodes = Aggregation("group", series.current(view, milvus.NODES), ("job", "instance"))
    memory = where(series.current(view, milvus.PROCESS_BYTES), nodes, "job", "instance")
    return Aggregation("sum", memory, ("instance",))


def loaded_memory(view: View) -> Expr:
    """Bytes of the entities that each server has loaded, by `instance`."""
    return Aggregation("sum", series.current(view, milvus.LOADED_BYTES), ("instance",))


def read_lag(view: View) -> Expr:
    """Age of the newest write that query nodes have read: that of the slowest."""
    return series.highest_now(view, milvus.READ_LAG)


def limits(view: View) -> Expr:
    """1 while a limit makes Milvus refuse requests, by limit."""
    return series.highest_now(view, milvus.LIMITS, milvus.QUOTA)
