"""Milvus as its servers see it: beside what clients measure, it says where the time goes."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog import milvus
from sidelight.dashboards.panels.panel import (
    AMBER,
    BYTES,
    COUNT,
    MILLISECONDS,
    RED,
    REQUESTS_PER_SECOND,
    UPPER,
    Panel,
    PanelQuery,
    Row,
    Threshold,
    by,
    quantiles,
)
from sidelight.dashboards.queries import milvus as queries
from sidelight.dashboards.view import View

_EMPTY: Final = "Milvus not scraped"
_FAILED: Final = f"failed {by(milvus.FUNCTION, milvus.STATUS)}"


def row(view: View) -> Row:
    """Load, failures, where the time goes, what is loaded, and limits."""
    return Row(
        "Milvus servers",
        (
            Panel(
                "Milvus requests",
                "Requests per second that Milvus receives, by function.",
                REQUESTS_PER_SECOND,
                (PanelQuery(queries.requests(view), by(milvus.FUNCTION)),),
                soft_maximum=1,
                stacked=True,
                empty_text=_EMPTY,
            ),
            Panel(
                "Milvus failed requests",
                "Requests per second that Milvus did not answer with success, by function and "
                "status.",
                REQUESTS_PER_SECOND,
                (
                    PanelQuery(
                        queries.failed_requests(view),
                        f"failed {by(milvus.FUNCTION, milvus.STATUS)}",
                    ),
                ),
                thresholds=(Threshold(0.1, AMBER), Threshold(1, RED)),
                soft_maximum=1,
                empty_text=_EMPTY,
            ),
            Panel(
                "Milvus search latency",
                "Time of a search in Milvus. What *Search duration* has on top is the network "
                "and the client.",
                MILLISECONDS,
                quantiles(queries.search_latency_quantile, view, UPPER),
                empty_text=_EMPTY,
            ),
            _stages(view),
            Panel(
                "Milvus search tasks",
                "Searches and queries that query nodes work on, and those that wait for them. "
                "If many wait, add query nodes or CPUs.",
                COUNT,
                (
                    PanelQuery(queries.running_tasks(view), "running"),
                    PanelQuery(queries.waiting_tasks(view), "waiting"),
                ),
                soft_maximum=1,
                empty_text=_EMPTY,
            ),
            Panel(
                "Milvus loaded segments",
                "Segments that query nodes have loaded, by state. Growing ones have no index: "
                "many of them make searches slow.",
                COUNT,
                (PanelQuery(queries.loaded_segments(view), by(milvus.SEGMENT_STATE)),),
                soft_maximum=1,
                stacked=True,
                empty_text=_EMPTY,
            ),
            Panel(
                "Milvus memory",
                "Resident memory of each Milvus process, and what its loaded entities take of it.",
                BYTES,
                (
                    PanelQuery(queries.process_memory(view), f"{by('instance')} process"),
                    PanelQuery(queries.loaded_memory(view), f"{by('instance')} entities"),
                ),
                empty_text=_EMPTY,
            ),
            Panel(
                "Milvus read lag",
                "Age of the newest write that the slowest query node has read. A search with "
                "strong consistency waits that long.",
                MILLISECONDS,
                (PanelQuery(queries.read_lag(view), "lag"),),
                thresholds=(Threshold(1_000, AMBER), Threshold(10_000, RED)),
                empty_text=_EMPTY,
            ),
            Panel(
                "Milvus limits in force",
                "1 while a limit makes Milvus refuse writes or reads: its memory, its disk, or "
                "query nodes that lag behind.",
                COUNT,
                (PanelQuery(queries.limits(view), by(milvus.QUOTA)),),
                thresholds=(Threshold(1, RED),),
                maximum=1,
                empty_text=_EMPTY,
            ),
        ),
    )


def _stages(view: View) -> Panel:
    return Panel(
        "Milvus search time by stage",
        "Mean time that a search or query spends in each stage: in the queue, waiting for the "
        "writes that it must see (by its consistency level), in the index, and while results are "
        "merged. Segments are searched side by side, so the stages do not add up to the latency.",
        MILLISECONDS,
        (
            PanelQuery(queries.mean_queue_time(view), "queue"),
            PanelQuery(queries.mean_consistency_wait(view), "consistency"),
            PanelQuery(queries.mean_core_time(view), "index"),
            PanelQuery(queries.mean_reduce_time(view), "merge"),
        ),
        empty_text=_EMPTY,
    )
