"""What NVIDIA's DCGM exporter tells of GPUs, as its two lists of counters name it.

The first is its default. The second, with the profiling counters `DCGM_FI_PROF_*`, is chosen by
`DCGM_EXPORTER_COLLECTORS`:
https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/default-counters.csv
https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/dcp-metrics-included.csv
"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.catalog.metric import CatalogMetric, MetricName, MetricSource

# Its job and instance are the exporter's own; pods tell whose GPU it is.
DCGM: Final = MetricSource("DCGM exporter", {})

POD: Final = "pod"
NAMESPACE: Final = "namespace"
# Prometheus renames them to these where the scrape does not honour labels.
EXPORTED_POD: Final = "exported_pod"
EXPORTED_NAMESPACE: Final = "exported_namespace"
GPU: Final = "gpu"
PROFILING: Final = "DCGM_EXPORTER_COLLECTORS=/etc/dcgm-exporter/dcp-metrics-included.csv"
"""The setting with which the exporter reads profiling counters."""


def _gauge(unit: str, name: str, meaning: str, needs: str = "") -> CatalogMetric:
    labels = (GPU, POD, NAMESPACE, EXPORTED_POD, EXPORTED_NAMESPACE)
    return CatalogMetric(DCGM, "gauge", unit, meaning, labels, (MetricName(name),), needs=needs)


GPU_UTILISATION: Final = _gauge(
    "%", "DCGM_FI_DEV_GPU_UTIL", "Share of the time during which a kernel ran on the GPU."
)
GPU_MEMORY_USED: Final = _gauge("MiBy", "DCGM_FI_DEV_FB_USED", "Memory of the GPU in use.")
GPU_MEMORY_FREE: Final = _gauge("MiBy", "DCGM_FI_DEV_FB_FREE", "Memory of the GPU that is free.")
GPU_TENSOR_ACTIVE: Final = _gauge(
    "1",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "Share of the cycles during which a tensor core worked.",
    needs=PROFILING,
)
GPU_MEMORY_ACTIVE: Final = _gauge(
    "1",
    "DCGM_FI_PROF_DRAM_ACTIVE",
    "Share of the cycles during which the GPU's memory was read or written.",
    needs=PROFILING,
)
GPU_POWER: Final = _gauge("W", "DCGM_FI_DEV_POWER_USAGE", "Power that the GPU draws.")

DCGM_METRICS: Final[tuple[CatalogMetric, ...]] = (
    GPU_UTILISATION,
    GPU_MEMORY_USED,
    GPU_MEMORY_FREE,
    GPU_TENSOR_ACTIVE,
    GPU_MEMORY_ACTIVE,
    GPU_POWER,
)
