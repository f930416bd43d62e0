"""Runs in vLLM's own environment: its real engine in one process, which publishes KV events.

Reads a command as JSON from each line of standard input, and answers with a line. `start` makes an
engine of a model with so many blocks and the addresses of its events, instead of the one before;
`ask` has it answer the token ids of a prompt; `reset` empties its cache; `count` tells its
counters. VLLM_ENABLE_V1_MULTIPROCESSING=0 keeps all of it in this process.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any, TextIO

from vllm import LLM, SamplingParams
from vllm.config import KVEventsConfig
from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

_COUNTERS = ("vllm:prefix_cache_queries", "vllm:prefix_cache_hits")


def start(model: str, blocks: int, endpoint: str, replay: str) -> LLM:
    events = KVEventsConfig(
        enable_kv_cache_events=True, publisher="zmq", endpoint=endpoint, replay_endpoint=replay
    )
    return LLM(
        model=model,
        max_model_len=2048,
        enforce_eager=True,
        num_gpu_blocks_override=blocks,
        kv_events_config=events,
        disable_log_stats=False,
    )


def stop(engine: LLM) -> None:
    engine.llm_engine.engine_core.shutdown()
    cleanup_dist_env_and_memory()
    gc.collect()


def counted(engine: LLM) -> dict[str, float]:
    metrics = engine.get_metrics()
    return {metric.name: metric.value for metric in metrics if metric.name in _COUNTERS}


def main(answers: TextIO) -> None:
    engine: Any = None
    for line in sys.stdin:
        ((command, given),) = json.loads(line).items()
        answer: object = None
        if command == "start":
            if engine is not None:
                stop(engine)
            engine = start(**given)
        elif command == "ask":
            prompt = {"prompt_token_ids": given}
            engine.generate([prompt], SamplingParams(max_tokens=2), use_tqdm=False)
        elif command == "reset":
            engine.reset_prefix_cache()
        else:
            answer = counted(engine)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # What vLLM prints goes where its log goes.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        main(answers)
