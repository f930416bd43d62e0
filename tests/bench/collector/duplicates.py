"""What knowing repeated requests adds to each request: `python -m bench.collector.duplicates`.

The writer behind it answers at once, so that the CPU time between on and off is the cost.
Bodies are either just made, as a received one is, or have left the CPU's cache.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.collector.payloads import llm
from bench.report import figure, machine, write
from sidelight.collector.log.duplicates import Duplicates
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.writer import LogWriter, Settled
from sidelight.otlp.repetition import is_repetition
from sidelight.otlp.signals import Signal
from support.paths import ROOT

OUTPUT = ROOT / "build" / "bench" / "duplicates.json"
_SPANS = 256
_REQUESTS = 200


class _Instant(LogWriter):
    """Says that everything is on the disk in the loop's next turn."""

    def submit(
        self, signal: Signal, body: bytes, items: int, settled: Settled | None = None
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        if settled is not None:
            loop.call_soon(settled, None)
        loop.call_soon(done.set_result, None)
        return done


async def _one_round(log: DurableLog, bodies: Sequence[bytes] | None, seconds: float) -> float:
    """Microseconds a request; without `bodies` each is made just before."""
    storage = Duplicates(
        _Instant(log, max_pending_bytes=1 << 30), seconds=seconds, is_repetition=is_repetition
    )
    body = bytearray(llm(_SPANS))
    took = 0.0
    for number in range(_REQUESTS):
        body[-8:] = number.to_bytes(8)
        sent = bytes(body) if bodies is None else bodies[number]
        started = time.process_time()
        await storage.append("traces", sent, _SPANS)
        took += time.process_time() - started
    return took / _REQUESTS * 1e6


async def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    size = len(llm(_SPANS))
    old = [os.urandom(size) for _ in range(_REQUESTS)]
    figures = []
    with tempfile.TemporaryDirectory() as directory:
        log = DurableLog(Path(directory), segment_bytes=1 << 20)
        for name, bodies in (("just received", None), ("out of the cache", old)):
            costs = [
                await _one_round(log, bodies, 60.0) - await _one_round(log, bodies, 0.0)
                for _ in range(options.rounds)
            ]
            title = f"repeated requests known, {size // 1000} kB, {name}"
            figures.append(figure(title, "us/request", costs))
            figures.append(figure(title, "us/span", [each / _SPANS for each in costs]))
        log.close()
    for each in figures:
        spread = f"({each.lowest:,.3f} to {each.highest:,.3f})"
        print(f"{each.name:55s} {each.value:9,.3f} {each.unit:10s} {spread}")
    write(OUTPUT, figures, machine())


if __name__ == "__main__":
    uvloop.run(main())
