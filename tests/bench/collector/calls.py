"""Python calls that a span costs in the intake: counted, so the same on every machine and run.

`make bench` fails where one costs a quarter more than calls.json says; `--write` renews that file.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from bench.collector import traffic
from bench.collector.payloads import llm
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.span_metrics import SpanMetrics
from sidelight.collector.processors.build import build
from sidelight.collector.processors.config import ProcessorsConfig
from sidelight.collector.processors.redact.config import Redact
from sidelight.otlp.request import checked

BASELINE: Final = Path(__file__).with_name("calls.json")
MAX_GROWTH: Final = 1.25
_SPANS = 256
_REQUESTS = 4

PATHS: Final[dict[str, tuple[Callable[[int], list[bytes]], bool]]] = {
    "mix": (traffic.mix, False),
    "mix, redaction": (traffic.mix_with_secrets, True),
    "canonical": (traffic.demo, False),
    "plain": (lambda spans: [llm(spans)], False),
}
"""What is counted: the payload, and whether texts are redacted."""


def counted(requests: int = _REQUESTS) -> dict[str, float]:
    """Calls a span, of Python functions and of builtins, once all plans are made.

    At most so many requests of each path are counted.
    """
    return {
        name: _calls(payload(_SPANS)[:requests], is_redacting=is_redacting)
        for name, (payload, is_redacting) in PATHS.items()
    }


def grown(before: dict[str, float], now: dict[str, float]) -> list[str]:
    """A sentence for each path that costs too many calls."""
    return [
        f"{name}: {calls:.1f} Python calls a span instead of {before.get(name, 0.0):.1f}; "
        "find the cause with cProfile, or run this with --write if the calls are needed"
        for name, calls in now.items()
        if name not in before or calls > before[name] * MAX_GROWTH
    ]


def _calls(requests: list[bytes], *, is_redacting: bool) -> float:
    pipeline = build(ProcessorsConfig(redact=Redact(enabled=is_redacting)))
    metrics = SpanMetrics(Registry(), MetricsConfig())

    def take() -> None:
        for body in requests:
            request, is_clean = checked("traces", body)
            processed = pipeline.traces(request, body, is_clean=is_clean)
            if processed.changed:
                request.SerializeToString()
            metrics.observe(processed.measured)

    # The second time finds the plans that the first one made.
    take()
    take()
    # The garbage collector calls finalizers and callbacks of whatever else the process holds.
    gc.collect()
    gc.disable()
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        take()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls / (len(requests) * _SPANS)


def main() -> int:
    """Compare with the baseline, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the baseline again")
    options = parser.parse_args()
    now = {name: round(calls, 1) for name, calls in counted().items()}
    for name, calls in now.items():
        print(f"{name:20s} {calls:8.1f} Python calls a span")
    if options.write:
        BASELINE.write_text(json.dumps(now, indent=2) + "\n")
        return 0
    sentences = grown(json.loads(BASELINE.read_text()), now)
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
