"""Runs in vLLM's own environment: its real `OutputProcessor` and `StatLoggerManager`, observed.

There is no engine.
Prints what it made of a few sequences as JSON, with vLLM's statistics and without: what those say,
and what was handed over.
"""

from __future__ import annotations

import inspect
import json
import time
from types import SimpleNamespace
from typing import Any

from vllm.sampling_params import SamplingParams
from vllm.v1.engine import (
    EngineCoreEvent,
    EngineCoreEventType,
    EngineCoreOutput,
    EngineCoreRequest,
    FinishReason,
)
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.engine.parallel_sampling import ParentRequest
from vllm.v1.metrics import stats as statistics
from vllm.v1.metrics.loggers import StatLoggerManager
from vllm.v1.metrics.stats import IterationStats, SchedulerStats

from sidelight.instrumentation.vllm import async_llm, current_request
from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.output_processor import SequenceCapture
from sidelight.instrumentation.vllm.stat_logger import StepCapture

QUEUED_SECONDS, SCHEDULED_SECONDS = 0.15, 0.1
# Newer ones have ids of its own beside the client's.
HAS_EXTERNAL_IDS = "external_req_id" in EngineCoreRequest.__struct_fields__


class Queue:
    """Where vLLM puts the outputs of a request."""

    def put(self, output: object) -> None: ...


def request(sequence_id: str, external_id: str) -> EngineCoreRequest:
    fields: dict[str, Any] = {
        "request_id": sequence_id,
        "prompt_token_ids": [1, 2, 3, 4],
        "mm_features": None,
        "sampling_params": SamplingParams(max_tokens=50, detokenize=False),
        "pooling_params": None,
        "arrival_time": time.time() - 0.2,
        "lora_request": None,
        "cache_salt": None,
        "data_parallel_rank": None,
    }
    if HAS_EXTERNAL_IDS:
        fields["external_req_id"] = external_id
    if "eos_token_id" in EngineCoreRequest.__struct_fields__:
        fields["eos_token_id"] = None
    return EngineCoreRequest(**fields)


def parent_of(of_two: EngineCoreRequest) -> ParentRequest:
    if len(inspect.signature(ParentRequest).parameters) == 1:
        return ParentRequest(of_two)
    return ParentRequest(of_two.request_id, of_two.sampling_params)


def output(sequence_id: str, *tokens: int, **fields: Any) -> EngineCoreOutput:
    """What the engine tells of a sequence. Without `PrefillStats`, each has the cached tokens."""
    if not hasattr(statistics, "PrefillStats"):
        fields["num_cached_tokens"] = 3
    return EngineCoreOutput(request_id=sequence_id, new_token_ids=list(tokens), **fields)


def prefilled() -> dict[str, Any]:
    """How the first output tells of three cached tokens in a prompt of four."""
    if not hasattr(statistics, "PrefillStats"):
        return {}
    counts = {"num_prompt_tokens": 4, "num_computed_tokens": 1, "num_cached_tokens": 3}
    return {"prefill_stats": statistics.PrefillStats(**counts, num_local_cached_tokens=3)}


def id_of(name: str) -> str:
    """vLLM's own id of the client's request `name`."""
    return f"{name}-1" if HAS_EXTERNAL_IDS else name


def abort(processor: OutputProcessor, name: str, *, internal: bool) -> None:
    """Abort by vLLM's own id or by the client's, where this version of vLLM has both."""
    if HAS_EXTERNAL_IDS:
        processor.abort_requests([id_of(name) if internal else name], internal=internal)
    else:
        processor.abort_requests([name])


def run(log_stats: bool) -> dict[str, Any]:
    """Four sequences and two children: finished, preempted, aborted before and after a token."""
    processor = OutputProcessor(None, log_stats=log_stats)
    handed_over: list[Any] = []
    guard = FaultGuard("test")
    capture = SequenceCapture(processor, handed_over.extend, lambda _: 0, guard)
    missing = capture.install()
    current = CurrentRequest()
    current_request.begin(current)
    for name in ("finished", "preempted", "aborted", "early"):
        processor.add_request(request(id_of(name), name), None, None, 0, Queue())
    of_two = request(id_of("two"), "two")
    of_two.sampling_params.n = 2
    parent = parent_of(of_two)
    for index in range(2):
        child_id, parameters = parent.get_child_info(index)
        child = request(child_id, "two")
        child.sampling_params = parameters
        processor.add_request(child, None, parent, index, Queue())
    reported: list[Any] = []

    def step(*outputs: EngineCoreOutput) -> None:
        stats = IterationStats() if log_stats else None
        processor.process_outputs(list(outputs), time.monotonic(), stats)
        if stats is not None:
            reported.extend(stats.finished_requests)

    now = time.monotonic()
    kinds = EngineCoreEventType
    began = [
        EngineCoreEvent(kinds.QUEUED, now - QUEUED_SECONDS),
        EngineCoreEvent(kinds.SCHEDULED, now - SCHEDULED_SECONDS),
    ]
    back = [EngineCoreEvent(kinds.PREEMPTED, now), EngineCoreEvent(kinds.SCHEDULED, now)]
    step(
        *(
            output(sequence_id, 7, events=began if log_stats else None, **prefilled())
            for sequence_id in processor.request_states
            if sequence_id != id_of("early")
        )
    )
    step(
        output(id_of("preempted"), 8, events=back if log_stats else None),
        output(id_of("finished"), 8, 9, finish_reason=FinishReason.STOP),
    )
    step(output(id_of("preempted"), 8, finish_reason=FinishReason.LENGTH))
    abort(processor, "aborted", internal=True)
    abort(processor, "early", internal=False)
    abort(processor, "two", internal=True)
    return {
        "missing": missing,
        "faults": guard.faults,
        "left": len(processor.request_states),
        "sequences": current.sequences,
        "handed_over": handed_over,
        "reported": [
            {
                "request_id": getattr(stats, "request_id", None),
                "queue": stats.queued_time,
                "prefill": stats.prefill_time,
                "decode": stats.decode_time,
                "tokens": stats.num_generation_tokens,
                "cached": stats.num_cached_tokens,
                "preemptions": getattr(stats, "num_preemptions", None),
            }
            for stats in reported
        ],
    }


def run_steps() -> dict[str, Any]:
    """One step of engine 1, told to a manager that has no loggers of its own."""
    records: list[Any] = []
    guard = FaultGuard("test")
    manager = StatLoggerManager.__new__(StatLoggerManager)
    manager.engine_indexes, manager.stat_loggers = [0, 1], []
    client = SimpleNamespace(logger_manager=manager, vllm_config=SimpleNamespace())
    shared: Any = SimpleNamespace(
        add_engine=records.append,
        hand_off=SimpleNamespace(put_step=records.append, put=records.append),
        stat_logger_guard=guard,
    )
    processor = OutputProcessor(None, log_stats=True)
    sequences = SequenceCapture(processor, records.extend, lambda _: 0, FaultGuard("test"))
    StepCapture(lambda: client, sequences, shared).follow()
    scheduler = SchedulerStats(num_running_reqs=3, num_waiting_reqs=2, kv_cache_usage=0.5)
    manager.record(scheduler_stats=scheduler, iteration_stats=IterationStats(), engine_idx=1)
    async_llm.install(AsyncLLM)
    wrapped = [name for name in async_llm.STATES if hasattr(getattr(AsyncLLM, name), "__wrapped__")]
    return {"records": records, "faults": guard.faults, "wrapped": wrapped}


if __name__ == "__main__":
    result = {"on": run(log_stats=True), "off": run(log_stats=False), "steps": run_steps()}
    print(json.dumps(result))
