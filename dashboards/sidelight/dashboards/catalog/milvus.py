"""What a Milvus server tells of itself: requests, searches and their stages, segments, memory.

Names, kinds and labels are those that Milvus 2.3.5 was recorded with; in the source of 2.6 they
are the same, some with more labels:
https://github.com/milvus-io/milvus/tree/master/pkg/metrics
"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog.metric import CatalogMetric, Kind, MetricName, MetricSource

# Its job is the scrape's own, which no variable of a board selects.
MILVUS: Final = MetricSource("Milvus", {"database_server": "instance"}, counter_suffix="")
_PROCESS: Final = MetricSource("Milvus's process", {"database_server": "instance"})

NODE: Final = "node_id"
FUNCTION: Final = "function_name"
STATUS: Final = "status"
QUERY_TYPE: Final = "query_type"
SEGMENT_STATE: Final = "segment_state"
QUOTA: Final = "quota_states"


def _milvus(
    kind: Kind, unit: str, name: str, meaning: str, *labels: str, begins_with_event: bool = True
) -> CatalogMetric:
    return CatalogMetric(
        MILVUS,
        kind,
        unit,
        meaning,
        labels,
        (MetricName(f"milvus_{name}"),),
        begins_with_event=begins_with_event,
    )


NODES: Final = _milvus(
    "gauge",
    "",
    "num_node",
    "1 for each role that runs.",
    NODE,
    "role_name",
    begins_with_event=False,
)
REQUESTS: Final = _milvus(
    "counter",
    "{request}",
    "proxy_req_count",
    "Requests by function; each counts as `total` and again as how it ended.",
    NODE,
    FUNCTION,
    STATUS,
)
SEARCH_LATENCY: Final = _milvus(
    "histogram", "ms", "proxy_sq_latency", "Time of a search or query.", NODE, QUERY_TYPE
)
QUEUE_LATENCY: Final = _milvus(
    "histogram",
    "ms",
    "querynode_sq_queue_latency",
    "Time that a search or query waits in the queue of a query node.",
    NODE,
    QUERY_TYPE,
)
CONSISTENCY_LATENCY: Final = _milvus(
    "histogram",
    "ms",
    "querynode_sq_wait_tsafe_latency",
    "Time that a search or query waits until the writes that it must see have arrived.",
    NODE,
    QUERY_TYPE,
)
CORE_LATENCY: Final = _milvus(
    "histogram",
    "ms",
    "querynode_sq_core_latency",
    "Time that a search or query takes in the index.",
    NODE,
    QUERY_TYPE,
)
REDUCE_LATENCY: Final = _milvus(
    "histogram",
    "ms",
    "proxy_sq_reduce_result_latency",
    "Time that the proxy takes to merge the results of the query nodes.",
    NODE,
    QUERY_TYPE,
)
TASKS_RUNNING: Final = _milvus(
    "gauge",
    "{task}",
    "querynode_read_task_concurrency",
    "Searches and queries that a query node works on.",
    NODE,
    begins_with_event=False,
)
TASKS_READY: Final = _milvus(
    "gauge",
    "{task}",
    "querynode_read_task_ready_len",
    "Searches and queries that wait for a query node.",
    NODE,
    begins_with_event=False,
)
SEGMENTS: Final = _milvus(
    "gauge",
    "{segment}",
    "querynode_segment_num",
    "Segments that are loaded.",
    NODE,
    "collection_id",
    SEGMENT_STATE,
)
LOADED_BYTES: Final = _milvus(
    "gauge",
    "By",
    "querynode_entity_size",
    "Memory of the loaded entities.",
    NODE,
    "collection_id",
    SEGMENT_STATE,
)
READ_LAG: Final = _milvus(
    "gauge",
    "ms",
    "querynode_consume_tt_lag_ms",
    "Age of the newest write that a query node has read.",
    NODE,
    "collection_id",
    "msg_type",
)
LIMITS: Final = _milvus(
    "gauge",
    "",
    "rootcoord_quota_states",
    "1 while a limit makes Milvus refuse requests.",
    QUOTA,
)
PROCESS_BYTES: Final = CatalogMetric(
    _PROCESS,
    "gauge",
    "By",
    "Resident memory of the process.",
    (),
    (MetricName("process_resident_memory_bytes"),),
)

MILVUS_METRICS: Final[tuple[CatalogMetric, ...]] = (
    NODES,
    REQUESTS,
    SEARCH_LATENCY,
    QUEUE_LATENCY,
    CONSISTENCY_LATENCY,
    CORE_LATENCY,
    REDUCE_LATENCY,
    TASKS_RUNNING,
    TASKS_READY,
    SEGMENTS,
    LOADED_BYTES,
    READ_LAG,
    LIMITS,
    PROCESS_BYTES,
)
