"""A ScaledObject for KEDA: vLLM's replicas follow its work and its KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidelight.dashboards.catalog.metric import Dimension
from sidelight.dashboards.publish.metric_prefix import with_prefix
from sidelight.dashboards.publish.yaml_text import yaml_text
from sidelight.dashboards.scaling import ScalingSignal, signals
from sidelight.dashboards.view import View

# Starting a replica takes minutes; a shorter window would chase every burst.
_WINDOW: Final = "2m"
_KV_CACHE_TARGET: Final = 0.8
_FAILURES_BEFORE_FALLBACK: Final = 3


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is scaled, within which limits, by the metrics of which servers."""

    deployment: str
    prometheus: str
    filters: Mapping[Dimension, str]
    requests_per_replica: int
    minimum: int
    maximum: int
    metric_prefix: str = ""


def scaled_object(scaling: Scaling) -> str:
    """The resource as YAML. If Prometheus fails, the replicas stay at their minimum or above."""
    resource: dict[str, Any] = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": scaling.deployment},
        "spec": {
            "scaleTargetRef": {"name": scaling.deployment},
            "minReplicaCount": scaling.minimum,
            "maxReplicaCount": scaling.maximum,
            "fallback": {
                "failureThreshold": _FAILURES_BEFORE_FALLBACK,
                "behavior": "currentReplicasIfHigher",
                "replicas": scaling.minimum,
            },
            "triggers": [
                _trigger(signal, scaling) for signal in signals(View(scaling.filters, _WINDOW))
            ],
        },
    }
    return yaml_text(resource)


def _trigger(signal: ScalingSignal, scaling: Scaling) -> dict[str, Any]:
    target = scaling.requests_per_replica if signal.is_total else _KV_CACHE_TARGET
    return {
        "type": "prometheus",
        "name": signal.name,
        # KEDA divides an average value by the replicas.
        "metricType": "AverageValue" if signal.is_total else "Value",
        "metadata": {
            "serverAddress": scaling.prometheus,
            "query": with_prefix(str(signal.expression), scaling.metric_prefix),
            "threshold": str(target),
            # A metric that is gone is an error, not a zero: llm-d-router's rename stopped all
            # autoscaling in silence (llm-d#2473).
            "ignoreNullValues": "false",
        },
    }
