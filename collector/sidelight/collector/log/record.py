"""What the log stores: one shaped, compressed OTLP export request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)


@dataclass(frozen=True, slots=True)
class Record:
    """One batch: `payload` is a gzipped OTLP export request of `signal` with `items` items.

    Items are spans, metrics or log records. `time_ns` is when it was acknowledged (Unix).
    """

    signal: Signal
    payload: bytes
    items: int
    time_ns: int
