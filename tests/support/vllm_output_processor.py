"""Runs in vLLM's own environment: its real `OutputProcessor`, observed, without an engine.

Prints what it made of a few sequences as JSON: what vLLM's statistics say, and what was handed
over. The argument says whether vLLM's statistics are on.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from vllm.sampling_params import SamplingParams
from vllm.v1.engine import (
    EngineCoreEvent,
    EngineCoreEventType,
    EngineCoreOutput,
    EngineCoreRequest,
    FinishReason,
)
from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.engine.parallel_sampling import ParentRequest
from vllm.v1.metrics.stats import IterationStats, PrefillStats

from sidelight.instrumentation.vllm import current_request
from sidelight.instrumentation.vllm.current_request import CurrentRequest
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.output_processor import SequenceCapture

QUEUED_SECONDS, SCHEDULED_SECONDS = 0.15, 0.1


class Queue:
    """Where vLLM puts the outputs of a request."""

    def put(self, output: object) -> None: ...


def request(sequence_id: str, external_id: str) -> EngineCoreRequest:
    return EngineCoreRequest(
        request_id=sequence_id,
        external_req_id=external_id,
        prompt_token_ids=[1, 2, 3, 4],
        mm_features=None,
        sampling_params=SamplingParams(max_tokens=50, detokenize=False),
        pooling_params=None,
        arrival_time=time.time() - 0.2,
        lora_request=None,
        cache_salt=None,
        data_parallel_rank=None,
    )


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
        processor.add_request(request(f"{name}-1", name), None, None, 0, Queue())
    of_two = request("two-1", "two")
    of_two.sampling_params.n = 2
    parent = ParentRequest(of_two)
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
    prefilled = PrefillStats(
        num_prompt_tokens=4, num_computed_tokens=1, num_cached_tokens=3, num_local_cached_tokens=3
    )
    step(
        *(
            EngineCoreOutput(
                request_id=sequence_id,
                new_token_ids=[7],
                events=began if log_stats else None,
                prefill_stats=prefilled,
            )
            for sequence_id in processor.request_states
            if sequence_id != "early-1"
        )
    )
    step(
        EngineCoreOutput(
            request_id="preempted-1", new_token_ids=[8], events=back if log_stats else None
        ),
        EngineCoreOutput(
            request_id="finished-1", new_token_ids=[8, 9], finish_reason=FinishReason.STOP
        ),
    )
    step(
        EngineCoreOutput(
            request_id="preempted-1", new_token_ids=[8], finish_reason=FinishReason.LENGTH
        )
    )
    processor.abort_requests(["aborted-1"], internal=True)
    processor.abort_requests(["early"], internal=False)
    processor.abort_requests(["two-1"], internal=True)
    return {
        "missing": missing,
        "faults": guard.faults,
        "left": len(processor.request_states),
        "sequences": current.sequences,
        "handed_over": handed_over,
        "reported": [
            {
                "request_id": stats.request_id,
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


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1] == "on")))
