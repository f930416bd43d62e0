"""vLLM's stat-logger plugin: queues each engine step for the processing thread.

vLLM calls `record` on the API server's event loop after every step, and an exception there
kills the server. `record` therefore only copies a few numbers, and no exception leaves it.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase

from sidelight import conventions as names
from sidelight.instrumentation.vllm import runtime
from sidelight.instrumentation.vllm.engine_stats import engine_limits, step_record
from sidelight.instrumentation.vllm.environment import AT_START, is_traced_by_vllm
from sidelight.instrumentation.vllm.faults import reraise_interrupt
from sidelight.instrumentation.vllm.metrics import Attributes
from sidelight.instrumentation.vllm.records import ENGINE


class SidelightStatLogger(StatLoggerBase):  # type: ignore[misc]
    """vLLM makes one for each pair of API server and engine.

    vLLM finds the class by the entry point `vllm.stat_logger_plugins` in pyproject.toml.
    """

    def __init__(self, vllm_config: Any = None, engine_index: int = 0, *_: Any, **__: Any) -> None:
        self._runtime: runtime.Runtime | None = None
        self._engine = engine_index
        try:
            self._runtime = runtime.get()
            if self._runtime is not None:
                labels = tuple(_labels(vllm_config, engine_index).items())
                traced = is_traced_by_vllm(vllm_config, AT_START)
                limits = engine_limits(vllm_config)
                self._runtime.add_engine((ENGINE, engine_index, labels, traced, limits))
        except BaseException as error:  # noqa: BLE001 - vLLM must start without us
            shared, self._runtime = self._runtime, None
            if shared is None:
                reraise_interrupt(error)
            else:
                shared.stat_logger_guard.fault(error)

    def record(
        self,
        scheduler_stats: Any = None,
        iteration_stats: Any = None,
        *_: Any,
        **more: Any,
    ) -> None:
        """Queue the step. Arguments that newer versions of vLLM add are ignored."""
        shared = self._runtime
        if shared is None or shared.stat_logger_guard.off or (to := shared.hand_off) is None:
            return
        try:
            engine = more.get("engine_idx") or self._engine
            to.put_step(step_record(engine, scheduler_stats, iteration_stats, monotonic()))
            shared.stat_logger_guard.passed()
        except BaseException as error:  # noqa: BLE001 - see the module's docstring
            shared.stat_logger_guard.fault(error)

    def log_engine_initialized(self) -> None:
        """Do nothing. vLLM calls this once the engine has started."""


# Otherwise a method that a later vLLM declares abstract would keep the server from starting.
SidelightStatLogger.__abstractmethods__ = frozenset()


def _labels(vllm_config: Any, engine_index: int) -> Attributes:
    labels: Attributes = {names.ENGINE_INDEX: engine_index}
    model_config = getattr(vllm_config, "model_config", None)
    served = getattr(model_config, "served_model_name", None) or getattr(
        model_config, "model", None
    )
    if isinstance(served, list | tuple):
        served = served[0] if served else None
    if served:
        labels[names.REQUEST_MODEL] = str(served)
    return labels
