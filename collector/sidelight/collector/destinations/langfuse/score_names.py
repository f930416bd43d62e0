"""Names of scores in Langfuse, whose tables show their first twelve characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from sidelight import conventions as c

SHOWN_CHARACTERS: Final = 12

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        c.ENGINE_SEQUENCES: "sequences",
        c.TIME_TO_FIRST_TOKEN: "ttft",
        c.TIME_PER_OUTPUT_TOKEN: "tpot",
        c.QUEUE_TIME: "queue_time",
        c.PREFILL_TIME: "prefill_time",
        c.DECODE_TIME: "decode_time",
        c.INFERENCE_TIME: "inference_time",
        c.GPU_TIME: "gpu_time",
        c.E2E_TIME: "e2e_time",
        c.SCHEDULER_TIME: "scheduler_time",
        c.FORWARD_TIME: "forward_time",
        c.EXECUTE_TIME: "execute_time",
        c.BATCH_SIZE_MEAN: "batch_mean",
        c.BATCH_SIZE_MAX: "batch_max",
        c.WAITING_AT_ARRIVAL: "waiting_ahead",
        c.KV_USAGE_AT_ADMISSION: "kv_at_start",
        c.KV_USAGE_PEAK: "kv_peak",
        c.STEPS_WITH_PREFILL: "prefill_steps",
        c.VECTOR_SCORE_TOP: "top_score",
        c.VECTOR_SCORE_LAST: "last_score",
        c.VECTOR_SCORE_MEAN: "mean_score",
        c.VECTOR_SCORE_GAP: "score_gap",
    }
)
"""Those whose last part says too little, or too much for the table."""


def score_names(attributes: Iterable[str]) -> dict[str, str]:
    """The score's name for each attribute: its last part, if the table has none.

    Names that begin alike get the first letters of what comes before, or a number.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for attribute in attributes:
        before, _, last = attribute.rpartition(".")
        name = NAMES.get(attribute, last or attribute)
        if name[:SHOWN_CHARACTERS] in taken:
            name = "".join(part[:1] for part in before.split(".")) + f"_{name}"
        number = 2
        while name[:SHOWN_CHARACTERS] in taken:
            name = f"{number}_{last or attribute}"
            number += 1
        taken.add(name[:SHOWN_CHARACTERS])
        names[attribute] = name
    return names
