"""The three signals of OTLP."""

from __future__ import annotations

from typing import Literal, get_args

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)
