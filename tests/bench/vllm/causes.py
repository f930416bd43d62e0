"""Whether the delay causes of a real vLLM are true: planted runs with one cause each.

`python -m bench.vllm.causes [--rounds 6] [--output build/bench/vllm-causes.json]`. Each run plants
one cause, and the same request is run alone before and after. The planted cause should be named for
95 % of the affected requests, and its seconds be within 15 % of the difference. There is no GPU
here, and the machine does other things too: so these seconds are figures and not tests. That the
cause is named is tested with the same runs, in tests/instrumentation/vllm/delay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from sidelight import conventions as names
from support.otlp_receiver import ReceivedSpan
from support.planted_causes import Comparison, Planter, planting, seconds_of
from support.shared_vllm import SharedVllm, running_shared_vllm

# Other servers of the tests do without, which takes 10 s of CPU.
COMPILES: Final = {"TORCHDYNAMO_DISABLE": "0"}
PLANTS: Final[dict[str, Callable[[Planter], Awaitable[list[Comparison]]]]] = {
    "the first request for log-probabilities, for which vLLM compiles": Planter.cold_start,
    "requests that come while the batch is full": Planter.full_batch,
    "prompts of 1,000 tokens beside a request that decodes": Planter.long_prompts,
    "a KV cache too small for two requests": Planter.small_kv_cache,
    "five others in the batch, each with 1,900 tokens in the KV cache": Planter.growing_batch,
    "a client that reads late": Planter.slow_client,
}


def figures(planted: str, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """What is written of the runs with one cause."""
    cause = comparisons[0].cause
    difference = sum(one.difference for one in comparisons)
    return {
        "planted": planted,
        "cause": cause,
        "affected": len(comparisons),
        "named": sum(one.named == cause for one in comparisons),
        "named_otherwise": [one.named for one in comparisons if one.named != cause],
        "seconds": sum(one.seconds for one in comparisons),
        "difference": difference,
        "seconds_to_difference": sum(one.seconds for one in comparisons) / difference,
        "each_seconds_to_difference": [one.seconds / one.difference for one in comparisons],
        "times_alone": median(
            seconds_of(one.affected) / fmean(map(seconds_of, one.alone)) for one in comparisons
        ),
        "by_cause": by_cause([one.affected for one in comparisons]),
        "by_cause_alone": by_cause([span for one in comparisons for span in one.alone]),
    }


def by_cause(spans: Sequence[ReceivedSpan]) -> dict[str, float]:
    """Mean seconds of each cause."""
    return {
        cause: round(fmean(span.attributes.get(name, 0.0) for span in spans), 4)
        for cause, name in names.DELAY_SECONDS.items()
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures as a table of docs/vllm.md."""
    lines = [
        "| planted | times alone | requests in which it was named | seconds to the difference |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['planted']} | {row['times_alone']:.1f} | {row['named']} of {row['affected']} "
        f"`{row['cause']}` | {row['seconds_to_difference']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


async def measured(vllm: SharedVllm, rounds: int) -> list[dict[str, Any]]:
    """The figures of all causes."""
    rows: list[dict[str, Any]] = []
    async with planting(vllm) as planter:
        for planted, plant in PLANTS.items():
            comparisons: list[Comparison] = []
            # A server starts cold once.
            for _ in range(1 if plant is Planter.cold_start else rounds):
                comparisons += await plant(planter)
            if comparisons:
                rows.append(figures(planted, comparisons))
                print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Run everything, print it and write it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("build/bench/vllm-causes.json"))
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        running_shared_vllm(Path(directory), COMPILES) as vllm,
    ):
        rows = asyncio.run(measured(vllm, options.rounds))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
