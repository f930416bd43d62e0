"""`make bench`: what a span costs the collector, its latency, and how both grow.

`BENCH_OPTIONS="--parts load destinations --rounds 1"` runs some of it; the figures of the other
parts then stay in the JSON as they are. The collector under test has core 0 for itself; load
generator and backend share core 1. Nothing is written when it is ended before its time.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.collector import costs, growth, latency
from bench.collector.peers import ensure_rotel
from bench.collector.run import ROOT
from bench.collector.steps import Step, perform, tell
from bench.report import Figure, machine, read, write

OUTPUT = ROOT / "build" / "bench" / "collector.json"
AXES = {axis.name.replace(" ", "-"): axis for axis in growth.AXES}
PARTS = ("generator", "costs", "latency", *AXES)


def _steps(options: argparse.Namespace, part: str, payloads: Path) -> Iterator[Step]:
    if part == "generator":
        yield from growth.ceiling_steps(payloads, options.seconds)
    elif part == "latency":
        yield from latency.steps(payloads)
    elif part in AXES:
        yield from growth.steps([AXES[part]], payloads, options.seconds)
    else:
        scenarios = [s for s in costs.SCENARIOS if (options.only or "") in s.name]
        rotel = ensure_rotel(ROOT / "build" / "bench" / "rotel")
        yield from costs.steps(options.spans, payloads, rotel, scenarios)


def _rounds(options: argparse.Namespace, part: str) -> int:
    """One round shows the shape of growth; the other figures are compared and need several."""
    return int(options.rounds) if part in ("costs", "latency") else 1


def main() -> int:
    """Run the parts, print their figures, write the JSON."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--rounds", type=int, default=3, help="of `costs` and `latency`")
    parser.add_argument(
        "--spans", type=int, default=180_000, help="of a run of `costs`, of the usual payload"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of a run of growth")
    parser.add_argument("--only", help="scenarios of `costs` whose name contains this")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    # As Ctrl-C, so that what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = machine()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=options.output.parent) as temporary:
            figures = []
            for rounds in sorted(set(map(partial(_rounds, options), options.parts))):
                steps = [
                    step
                    for part in options.parts
                    if _rounds(options, part) == rounds
                    for step in _steps(options, part, Path(temporary))
                ]
                place = Path(temporary) / str(rounds)
                place.mkdir()
                figures += perform(steps, place, rounds)
            figures = costs.compared(figures)
    except KeyboardInterrupt:
        tell("ended before its time; nothing is written")
        return 130
    for each in figures:
        beside = f"  {each.ratio:.1f} x {each.peer}" if each.ratio else ""
        print(
            f"{each.name:55s} {each.value:12,.2f} {each.unit:8s}"
            f" ({each.lowest:,.2f} to {each.highest:,.2f}){beside}"
        )
    is_whole = set(options.parts) == set(PARTS) and not options.only
    rounds_of = {part: _rounds(options, part) for part in options.parts}
    save(options.output, figures, about, rounds_of, is_whole=is_whole)
    return 0


def save(
    path: Path,
    figures: Sequence[Figure],
    about: dict[str, object],
    rounds_of: Mapping[str, int],
    *,
    is_whole: bool,
) -> None:
    """Over the figures of the same names, or, if everything was run, over the whole file."""
    known, before = ({}, {}) if is_whole or not path.exists() else read(path)
    known |= {each.name: each for each in figures}
    run = {"load_before": about["load_before"], "ended": time.strftime("%F %R")}
    parts = {part: run | {"rounds": rounds} for part, rounds in rounds_of.items()}
    write(
        path,
        list(known.values()),
        about | {"parts": before.get("parts", {}) | parts},
    )


if __name__ == "__main__":
    sys.exit(main())
