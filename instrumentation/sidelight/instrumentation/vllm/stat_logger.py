"""A hook on vLLM's `StatLoggerManager`: hands over each engine step.

vLLM makes a manager only if its statistics are on. An entry point `vllm.stat_logger_plugins`
would switch them on in spite of `--disable-log-stats`, and in the API servers only, which spoils
vLLM's own metrics where engines run apart. So none is declared.

vLLM calls `record` on the API server's event loop after every step, and an exception there kills
the server. The hook therefore only copies a few numbers, and no exception leaves it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import monotonic
from typing import Any

from sidelight import conventions as names
from sidelight.instrumentation.vllm.engine_stats import engine_limits, step_record
from sidelight.instrumentation.vllm.environment import AT_START, is_traced_by_vllm
from sidelight.instrumentation.vllm.metrics import Attributes
from sidelight.instrumentation.vllm.output_processor import SequenceCapture
from sidelight.instrumentation.vllm.records import ENGINE, SEQUENCES
from sidelight.instrumentation.vllm.runtime import HandOff, Runtime


class StepCapture:
    """Observes the steps that the `StatLoggerManager` of one engine client is told of.

    `client` gives the client, or None once it is gone. `sequences` knows what ended in a step
    and when the engine stamped it.
    """

    def __init__(
        self, client: Callable[[], Any], sequences: SequenceCapture, shared: Runtime
    ) -> None:
        self._client = client
        self._manager: Any = None
        self._sequences = sequences
        self._shared = shared

    def follow(self) -> None:
        """Put the hook on the client's manager, if it is not the one that has the hook.

        vLLM makes a new manager when it adds engines (`/scale_elastic_ep`).
        """
        client = self._client()
        manager = getattr(client, "logger_manager", None)
        if manager is None or manager is self._manager:
            return
        self._manager = manager
        # Until the hook is in place, nothing takes what ends in a step.
        self._sequences.reports_steps = False
        self._sequences.hand_over_ended()
        self._install(manager, client.vllm_config)
        self._sequences.reports_steps = True

    def _install(self, manager: Any, vllm_config: Any) -> None:
        record = manager.record
        traced = is_traced_by_vllm(vllm_config, AT_START)
        limits = engine_limits(vllm_config)
        for engine in getattr(manager, "engine_indexes", None) or (0,):
            labels = tuple(engine_labels(vllm_config, engine).items())
            self._shared.add_engine((ENGINE, engine, labels, traced, limits))
        manager.record = functools.wraps(record)(self._observed(record))

    def _observed(self, record: Callable[..., Any]) -> Callable[..., Any]:
        def observed_record(
            scheduler_stats: Any = None, iteration_stats: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            result = record(scheduler_stats, iteration_stats, *args, **kwargs)
            guard, to = self._shared.stat_logger_guard, self._shared.hand_off
            try:
                if to is None or guard.off:
                    self._sequences.hand_over_ended()
                else:
                    self._step(to, kwargs.get("engine_idx") or 0, scheduler_stats, iteration_stats)
                    guard.passed()
            except BaseException as error:  # noqa: BLE001 - see the module's docstring
                guard.fault(error)
            return result

        return observed_record

    def _step(self, to: HandOff, engine: int, scheduler_stats: Any, iteration_stats: Any) -> None:
        at = None if iteration_stats is None else self._sequences.step_at
        ended = self._sequences.take_ended(engine)
        try:
            step = step_record(
                engine, scheduler_stats, iteration_stats, monotonic() if at is None else at, ended
            )
        except BaseException:
            # Statistics that cannot be read cost the step, and not what ended in it.
            if ended:
                to.put((SEQUENCES, ended))
            raise
        to.put_step(step)


def engine_labels(vllm_config: Any, engine: int) -> Attributes:
    """The labels of an engine's metrics: its index, and the served name of its model."""
    labels: Attributes = {names.ENGINE_INDEX: engine}
    model_config = getattr(vllm_config, "model_config", None)
    served = getattr(model_config, "served_model_name", None) or getattr(
        model_config, "model", None
    )
    if isinstance(served, list | tuple):
        served = served[0] if served else None
    if served:
        labels[names.REQUEST_MODEL] = str(served)
    return labels
