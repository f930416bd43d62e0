"""An engine client that calls its parts as vLLM's `AsyncLLM` does, without an engine.

The parts take the arguments that vLLM 0.13 to 0.32 give them, and end sequences as they do.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from support.observed_vllm import iteration, scheduler

QUEUED, SCHEDULED, PREEMPTED = 1, 2, 3


class OutputProcessor:
    """vLLM's, as far as it begins and ends sequences. `log_stats` is the user's choice."""

    def __init__(self, *, log_stats: bool = True) -> None:
        self.log_stats = log_stats
        self.request_states: dict[str, Any] = {}
        self.parent_requests: dict[str, Any] = {}
        self.external_req_ids: dict[str, list[str]] = {}
        self.told: list[Exception] = []

    def add_request(
        self, request: Any, prompt: str | None, parent_req: Any = None, request_index: int = 0
    ) -> None:
        if request.request_id in self.request_states:
            # More input of a session with streamed input.
            return
        stats = SimpleNamespace(
            arrival_time=request.arrival_time,
            queued_ts=0.0,
            scheduled_ts=0.0,
            first_token_ts=0.0,
            last_token_ts=0.0,
            num_generation_tokens=0,
            num_preemptions=0,
        )
        self.request_states[request.request_id] = SimpleNamespace(
            request_id=request.request_id,
            external_req_id=request.external_req_id,
            parent_req=parent_req,
            prompt_len=7,
            num_cached_tokens=0,
            lora_name=None,
            detokenizer=SimpleNamespace(output_token_ids=[]),
            stats=stats if self.log_stats else None,
        )
        self.external_req_ids.setdefault(request.external_req_id, []).append(request.request_id)
        if parent_req is not None:
            self.parent_requests[parent_req.request_id] = parent_req

    def process_outputs(
        self,
        engine_core_outputs: list[Any],
        engine_core_timestamp: float | None = None,
        stats: Any = None,
    ) -> None:
        for output in engine_core_outputs:
            state = self.request_states[output.request_id]
            state.num_cached_tokens = 4
            state.detokenizer.output_token_ids += output.new_token_ids
            if state.stats is not None:
                state.stats.num_generation_tokens += len(output.new_token_ids)
                self._update_from_events(state.stats, output.events, stats)
                state.stats.first_token_ts = state.stats.first_token_ts or engine_core_timestamp
                state.stats.last_token_ts = engine_core_timestamp
            if output.finish_reason is not None:
                del self.request_states[output.request_id]
                self._update_stats_from_finished(state, output.finish_reason, stats)

    def _update_from_events(self, state: Any, events: list[Any], stats: Any) -> None:
        for event in events:
            if event.type == QUEUED:
                state.queued_ts = event.timestamp
            elif event.type == SCHEDULED:
                state.scheduled_ts = state.scheduled_ts or event.timestamp
            elif event.type == PREEMPTED:
                state.num_preemptions += 1
                stats.num_preempted_reqs += 1

    def _update_stats_from_finished(self, req_state: Any, finish_reason: Any, stats: Any) -> None:
        if stats is not None:
            stats.finished_requests.append(req_state)

    def abort_requests(self, request_ids: Iterable[str], internal: bool = False) -> list[str]:
        ids = list(request_ids)
        if not internal:
            ids = [id_ for given in ids for id_ in self.external_req_ids.pop(given, [])]
        aborted = []
        for id_ in ids:
            if self.request_states.pop(id_, None) is not None:
                aborted.append(id_)
            elif parent := self.parent_requests.pop(id_, None):
                aborted += self.abort_requests(parent.children, internal=True)
        return aborted

    def propagate_error(self, e: Exception) -> None:
        self.told.append(e)


class StatLoggerManager:
    """vLLM's, which exists only while its statistics are on."""

    def __init__(self, engines: tuple[int, ...]) -> None:
        self.engine_indexes = engines
        self.recorded: list[dict[str, Any]] = []

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int | None = None,
    ) -> None:
        self.recorded.append({"engine": engine_idx, "mm_cache_stats": mm_cache_stats})


class AsyncLLM:
    """vLLM's, as far as it hands outputs over."""

    def __init__(self, *, log_stats: bool = True, engines: tuple[int, ...] = (0,)) -> None:
        model = SimpleNamespace(served_model_name=["tiny", "alias"])
        self.vllm_config = SimpleNamespace(model_config=model)
        self.output_processor = OutputProcessor(log_stats=log_stats)
        self.engine_core = SimpleNamespace(engine_ranks_managed=list(engines), reqs_in_flight={})
        self.logger_manager = StatLoggerManager(engines) if log_stats else None

    def add(self, sequence_id: str, external_id: str, parent: Any = None, engine: int = 0) -> None:
        """A sequence begins."""
        request = SimpleNamespace(
            request_id=sequence_id, external_req_id=external_id, arrival_time=time.time() - 0.5
        )
        self.output_processor.add_request(request, "a prompt", parent)
        self.engine_core.reqs_in_flight[sequence_id] = engine.to_bytes(2, "little")

    def step(self, *outputs: Any, at: float | None = None, engine: int = 0) -> None:
        """The engine hands over the outputs of one step."""
        stats = iteration() if self.output_processor.log_stats else None
        at = time.monotonic() if at is None else at
        if outputs:
            self.output_processor.process_outputs(list(outputs), at, stats)
        if self.logger_manager is not None:
            self.logger_manager.record(
                engine_idx=engine,
                scheduler_stats=scheduler(running=3, waiting=2, kv=0.5),
                iteration_stats=stats if outputs else None,
                mm_cache_stats="theirs",
            )


def output(sequence_id: str, tokens: int = 1, reason: int | None = None) -> Any:
    """`EngineCoreOutput`: the tokens of one sequence in one step, queued and scheduled before."""
    now = time.monotonic()
    return SimpleNamespace(
        request_id=sequence_id,
        new_token_ids=[1] * tokens,
        finish_reason=reason,
        events=[
            SimpleNamespace(type=QUEUED, timestamp=now - 0.3),
            SimpleNamespace(type=SCHEDULED, timestamp=now - 0.2),
        ],
    )
