"""The GPUs of vLLM's pods, where NVIDIA's DCGM exporter is scraped.

The exporter knows pods, not vLLM servers, so both are joined by the pod. Servers outside of
Kubernetes have no pod: then these queries return nothing.
"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.catalog import dcgm, vllm
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.promql import (
    Aggregation,
    BinaryOperation,
    Expr,
    Matcher,
    Scalar,
    either,
    ratio,
    relabelled,
)
from sidelight.dashboards.queries import series
from sidelight.dashboards.view import View

_PLACE: Final = (dcgm.NAMESPACE, dcgm.POD)


def utilisation(view: View) -> Expr:
    """Share of the time during which a kernel ran on each GPU."""
    return BinaryOperation(_of_servers(view, dcgm.GPU_UTILISATION), "/", Scalar(100))


def memory_used(view: View) -> Expr:
    """Share of each GPU's memory in use."""
    used = _of_servers(view, dcgm.GPU_MEMORY_USED)
    return ratio(used, BinaryOperation(used, "+", _of_servers(view, dcgm.GPU_MEMORY_FREE)))


def tensor_active(view: View) -> Expr:
    """Share of the cycles during which a tensor core of each GPU worked."""
    return _of_servers(view, dcgm.GPU_TENSOR_ACTIVE)


def memory_active(view: View) -> Expr:
    """Share of the cycles during which each GPU's memory was read or written."""
    return _of_servers(view, dcgm.GPU_MEMORY_ACTIVE)


def power(view: View) -> Expr:
    """Power that each GPU draws, in watts."""
    return _of_servers(view, dcgm.GPU_POWER)


def _of_servers(view: View, metric: CatalogMetric) -> Expr:
    """A gauge of the GPUs whose pods run vLLM servers of the view, by pod and GPU."""
    honoured = series.current(
        view, metric, Matcher(dcgm.POD, "!=", ""), Matcher(dcgm.EXPORTED_POD, "=", "")
    )
    # Without `honor_labels`, `pod` is the exporter's own.
    renamed = relabelled(
        relabelled(
            series.current(view, metric, Matcher(dcgm.EXPORTED_POD, "!=", "")),
            dcgm.POD,
            dcgm.EXPORTED_POD,
        ),
        dcgm.NAMESPACE,
        dcgm.EXPORTED_NAMESPACE,
    )
    gpus = promql.highest(either(honoured, renamed), *_PLACE, dcgm.GPU)
    servers = Aggregation("group", series.current(view, vllm.RUNNING), _PLACE)
    return BinaryOperation(gpus, "*", servers, f"on ({', '.join(_PLACE)}) group_left ()")
