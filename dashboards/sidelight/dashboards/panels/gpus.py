"""The GPUs of the selected servers: whether compute or memory is what limits them."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.panels.panel import (
    HALF,
    SHARE,
    WATTS,
    Panel,
    PanelQuery,
    Row,
    by,
)
from sidelight.dashboards.promql import Expr
from sidelight.dashboards.queries import gpu as queries
from sidelight.dashboards.view import View

_BY_GPU: Final = f"{by('pod')} GPU {by('gpu')}"
_SOURCE: Final = "By pod and GPU, from NVIDIA's DCGM exporter."
_EMPTY: Final = "DCGM exporter not scraped, or no pod of these servers has a GPU"


def row(view: View) -> Row:
    """Use, memory and power."""
    return Row(
        "GPUs",
        (
            _share(
                "GPU utilisation",
                "Share of the time during which a kernel ran on the GPU. A single small kernel at "
                "a time counts as 100 %.",
                queries.utilisation(view),
            ),
            _share(
                "GPU memory in use",
                "Share of the GPU's memory in use. vLLM takes `--gpu-memory-utilization` of it at "
                "start, whatever the load.",
                queries.memory_used(view),
            ),
            _share(
                "Tensor cores active",
                "Share of the cycles during which tensor cores worked. High in prefill: compute "
                "is what limits. A profiling counter.",
                queries.tensor_active(view),
            ),
            _share(
                "GPU memory active",
                "Share of the cycles during which the GPU's memory was read or written. High in "
                "decode: memory bandwidth is what limits, and a larger batch costs little. A "
                "profiling counter.",
                queries.memory_active(view),
            ),
            Panel(
                "GPU power",
                f"Power that the GPU draws. {_SOURCE}",
                WATTS,
                (PanelQuery(queries.power(view), _BY_GPU),),
                width=24,
                empty_text=_EMPTY,
            ),
        ),
    )


def _share(title: str, description: str, expression: Expr) -> Panel:
    return Panel(
        title,
        f"{description} {_SOURCE}",
        SHARE,
        (PanelQuery(expression, _BY_GPU),),
        width=HALF,
        maximum=1,
        empty_text=_EMPTY,
    )
