"""What Qdrant 1.19 exports by its source: no package registry has a server to be recorded."""

from __future__ import annotations

import math
from typing import Final

from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.catalog.qdrant import QDRANT_METRICS
from support.vllm_exposition import Exposition, Family, Sample

_LABELS: Final = {
    "rest": {"method": "POST", "endpoint": "/collections/{name}/points/query", "status": "200"},
    "grpc": {"endpoint": "/qdrant.Points/Query", "status": "0"},
    "collection_": {"id": "documents"},
}
_GAUGES: Final = {
    "memory_resident_bytes": 3e8,
    "collection_points": 12_000.0,
    "collection_update_queue_length": 3.0,
}
_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, math.inf)
_COUNT: Final = 60.0


def _family(metric: CatalogMetric) -> Family:
    name = metric.names[0].name
    labels = next(
        (tuple(labels.items()) for start, labels in _LABELS.items() if name.startswith(start)), ()
    )
    match metric.kind:
        case "gauge":
            samples = [Sample(name, labels, _GAUGES.get(name, 1.0), moves=False)]
        case "counter":
            samples = [Sample(f"{name}_total", labels, _COUNT, moves=True)]
        case "histogram":
            samples = [
                Sample(
                    f"{name}_bucket",
                    (*labels, ("le", "+Inf" if math.isinf(bound) else str(bound))),
                    _COUNT * (index + 1) / len(_BOUNDS),
                    moves=True,
                )
                for index, bound in enumerate(_BOUNDS)
            ]
            samples += [
                Sample(f"{name}_sum", labels, _COUNT * 0.01, moves=True),
                Sample(f"{name}_count", labels, _COUNT, moves=True),
            ]
    return Family(name, metric.kind, tuple(samples))


FROM_SOURCE: Final[Exposition] = tuple(map(_family, QDRANT_METRICS))
