"""An engine client that is observed, and what its hooks have handed over."""

from __future__ import annotations

from typing import Any

from sidelight.instrumentation.vllm import async_llm
from sidelight.instrumentation.vllm.records import STEP, Record
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from support.observed_vllm import Observed
from support.vllm_engine_client import AsyncLLM


def observed_client(observed: Observed, **arguments: Any) -> AsyncLLM:
    """A client that is observed, past the records of its engines."""

    class Subject(AsyncLLM): ...

    async_llm.install(Subject)
    async_llm.install(Subject)
    client = Subject(**arguments)
    queued(observed)
    return client


def queued(observed: Observed, kind: int | None = None) -> list[Record]:
    """The records since the last call, of one kind or of all."""
    return [record for record in observed.queue.drain() if kind in (None, record[0])]


def ended(observed: Observed) -> list[FinishedSequence]:
    """The sequences in all records, in the order of their ends."""
    return [
        FinishedSequence(*fields)
        for record in queued(observed)
        for fields in (record[3] if record[0] == STEP else record[1])
    ]
