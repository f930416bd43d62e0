"""What a Qdrant server tells of itself: responses, points, memory, work in hand.

Names and labels are those in the source of Qdrant 1.19, which no package registry has a server of:
https://github.com/qdrant/qdrant/tree/master/src/common/metrics
"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog.metric import CatalogMetric, Kind, MetricName, MetricSource

QDRANT: Final = MetricSource("Qdrant", {"database_server": "instance"})

ENDPOINT: Final = "endpoint"
STATUS: Final = "status"
COLLECTION: Final = "id"


def _qdrant(
    kind: Kind, unit: str, name: str, meaning: str, *labels: str, begins_with_event: bool = True
) -> CatalogMetric:
    return CatalogMetric(
        QDRANT,
        kind,
        unit,
        meaning,
        labels,
        (MetricName(name),),
        begins_with_event=begins_with_event,
    )


COLLECTIONS: Final = _qdrant(
    "gauge", "{collection}", "collections_total", "Collections.", begins_with_event=False
)
REST_RESPONSES: Final = _qdrant(
    "counter", "{response}", "rest_responses", "Responses over REST.", "method", ENDPOINT, STATUS
)
GRPC_RESPONSES: Final = _qdrant(
    "counter", "{response}", "grpc_responses", "Responses over gRPC.", ENDPOINT, STATUS
)
REST_DURATION: Final = _qdrant(
    "histogram",
    "s",
    "rest_responses_duration_seconds",
    "Time to a successful response over REST.",
    "method",
    ENDPOINT,
    STATUS,
)
GRPC_DURATION: Final = _qdrant(
    "histogram",
    "s",
    "grpc_responses_duration_seconds",
    "Time to a response over gRPC.",
    ENDPOINT,
    STATUS,
)
POINTS: Final = _qdrant(
    "gauge", "{point}", "collection_points", "Points of a collection, roughly.", COLLECTION
)
OPTIMISATIONS: Final = _qdrant(
    "gauge",
    "{task}",
    "collection_running_optimizations",
    "Optimisations that run: segments are merged or indexed.",
    COLLECTION,
)
UPDATES: Final = _qdrant(
    "gauge",
    "{operation}",
    "collection_update_queue_length",
    "Writes that are accepted and not yet applied.",
    COLLECTION,
)
MEMORY: Final = _qdrant(
    "gauge",
    "By",
    "memory_resident_bytes",
    "Memory of the process that is resident.",
    begins_with_event=False,
)

QDRANT_METRICS: Final[tuple[CatalogMetric, ...]] = (
    COLLECTIONS,
    REST_RESPONSES,
    GRPC_RESPONSES,
    REST_DURATION,
    GRPC_DURATION,
    POINTS,
    OPTIMISATIONS,
    UPDATES,
    MEMORY,
)
