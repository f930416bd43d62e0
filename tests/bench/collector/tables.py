"""The tables of docs/benchmarks.md, as Markdown, from the figures of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.collector import growth, latency
from bench.collector.costs import SCENARIOS
from bench.collector.growth import Axis
from bench.report import Figure

Figures = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Target:
    """The most that a figure should be, as docs/benchmarks.md promises it.

    With `is_ratio` the figure counts as a share of the peer's in the same run.
    """

    title: str
    figure: str
    unit: str
    limit: float
    is_ratio: bool = False

    def value(self, figure: Figure) -> float:
        """What of the figure counts."""
        return 1 / figure.ratio if self.is_ratio and figure.ratio else figure.value

    def is_met_by(self, value: float) -> bool:
        """Whether the value is on the right side."""
        return value <= self.limit


def _against(title: str, scenario: str, limit: float) -> Target:
    return Target(title, f"{scenario}: CPU", "of rotel's CPU", limit, is_ratio=True)


TARGETS = (
    _against("mix of instrumentations, made canonical, durable", "mix", 0.75),
    _against("the mix with redaction and gzip out", "mix, redaction, gzip out", 1.2),
    _against("canonical spans", "demo", 0.30),
    _against("canonical spans, 10 a request", "demo, small", 0.6),
    _against("plain spans", "http", 0.17),
    Target(
        "plain spans, 10 a request from 16 senders, gzip out",
        "http, gzip out, many senders: CPU",
        "µs/span",
        13,
    ),
    Target(
        "p99 to the backend, 2,000 spans/s of the mix, 256 a request",
        latency.name("http", 256, "p99", "at the backend"),
        "ms",
        10,
    ),
    Target(
        "p99 to the backend, 2,000 spans/s of the mix, 10 a request",
        latency.name("http", 10, "p99", "at the backend"),
        "ms",
        4,
    ),
    Target("memory of an idle collector", latency.IDLE_MEMORY, "MB", 60),
)

LOAD_COLUMNS = (
    ("acknowledged, spans/s", "acknowledged"),
    ("of its core", "core"),
    ("p50 until acknowledged, ms", "p50 until acknowledged"),
    ("p99 until acknowledged, ms", "p99 until acknowledged"),
    ("p50 until at the destination, ms", "p50 until at the destination"),
    ("p99 until at the destination, ms", "p99 until at the destination"),
    ("peak memory, MiB", "peak memory"),
    ("load generator's core", "load generator's core"),
    ("other core in use", "load core in use"),
)
COLUMNS = (
    ("µs/span", "CPU"),
    ("acknowledged, spans/s", "acknowledged"),
    ("p99 until acknowledged, ms", "p99 until acknowledged"),
    ("peak memory, MiB", "peak memory"),
    ("load generator's core", "load generator's core"),
)


def number(value: float, unit: str = "") -> str:
    """With the digits that a reader needs; a share in percent."""
    if unit == "share":
        return f"{value:.0%}".replace("%", " %")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def cell(figure: Figure) -> str:
    """The median, and the spread of several runs."""
    median, lowest, highest = (
        number(value, figure.unit) for value in (figure.value, figure.lowest, figure.highest)
    )
    return f"{median} ({lowest} to {highest})" if figure.runs > 1 else median


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(_figures: Figures, about: Mapping[str, Any]) -> str:
    """What it was measured on, and under which load."""
    parts = about["parts"].values()
    rounds = sorted({part["rounds"] for part in parts})
    loads = sorted({part["load_before"] for part in parts})
    ended = max(part["ended"] for part in parts)
    return (
        f"Medians of {' or '.join(map(str, rounds))} round{'s' * (rounds != [1])},"
        " lowest to highest in brackets, on"
        f" {about['cores']} cores of an {about['cpu']} ({about['system']}, Python"
        f" {about['python']}); load average before the run"
        f" {' to '.join(str(load) for load in dict.fromkeys((loads[0], loads[-1])))};"
        f" ended {ended}."
    )


def targets(figures: Figures, _about: Mapping[str, Any]) -> str:
    """Each target beside what was reached."""
    rows = []
    for target in TARGETS:
        figure = figures[target.figure]
        value = target.value(figure)
        reached = f"{value:.2f}" if target.is_ratio else cell(figure)
        verdict = "met" if target.is_met_by(value) else "missed"
        limit = f"{target.limit:.2f}" if target.is_ratio else f"{target.limit:,.0f}"
        rows.append([target.title, f"at most {limit} {target.unit}", reached, verdict])
    return _table(["", "target", "reached", ""], rows)


def costs(figures: Figures, _about: Mapping[str, Any]) -> str:
    """What a span costs in each scenario."""
    rows = []
    for scenario in SCENARIOS:
        cpu, memory, rate, share = (
            figures[f"{scenario.name}: {quantity}"]
            for quantity in ("CPU", "peak memory", "rate of one core", "load generator's core")
        )
        theirs = figures.get(f"{cpu.name} of rotel")
        their_memory = figures.get(f"{memory.name} of rotel")
        against = f" against {number(their_memory.value)}" if their_memory else ""
        rows.append(
            [
                scenario.title,
                cell(cpu),
                cell(theirs) if theirs else "",
                f"{1 / cpu.ratio:.2f}" if cpu.ratio else "",
                number(rate.value),
                number(memory.value) + against,
                number(share.value, share.unit),
            ]
        )
    head = ["", "Sidelight, durable, µs/span", "rotel, not durable, µs/span", "ratio"]
    head += ["Sidelight, spans/s of a core", "peak memory, MiB", "load generator's core"]
    return _table(head, rows)


def low_rate(figures: Figures, _about: Mapping[str, Any]) -> str:
    """Latency at a low rate."""
    titles = {"http": "HTTP", "grpc": "gRPC"}
    rows = [
        [
            f"{titles[protocol]}, {spans} spans a request, {where}",
            *(
                cell(figures[latency.name(protocol, spans, percentile, where)])
                for percentile in latency.PERCENTILES
            ),
        ]
        for protocol, spans in latency.RUNS
        for where in latency.PLACES
    ]
    return _table(["", "p50, ms", "p99, ms"], rows)


def _growth(axis: Axis, columns: Sequence[tuple[str, str]]) -> Callable[..., str]:
    def render(figures: Figures, _about: Mapping[str, Any]) -> str:
        rows = [
            [f"{point:,}", *(cell(figures[axis.figure(point, each)]) for _, each in columns)]
            for point in axis.points
        ]
        return _table([axis.unit, *(title for title, _ in columns)], rows)

    return render


def generator(figures: Figures, _about: Mapping[str, Any]) -> str:
    """What the load generator can do."""
    rows = []
    for spans in growth.REQUEST_SIZE.points:
        name = f"{growth.CEILING}, {spans}"
        quantities = ("acknowledged", "load generator's core")
        rows.append([f"{spans:,}", *(cell(figures[f"{name}: {each}"]) for each in quantities)])
    return _table(["spans a request", "spans/s", "load generator's core"], rows)


TABLES: Mapping[str, Callable[[Figures, Mapping[str, Any]], str]] = {
    "machine": machine,
    "targets": targets,
    "costs": costs,
    "latency": low_rate,
    "load": _growth(growth.LOAD, LOAD_COLUMNS),
    "destinations": _growth(growth.DESTINATIONS, COLUMNS),
    "connections": _growth(growth.CONNECTIONS, COLUMNS),
    "request size": _growth(growth.REQUEST_SIZE, COLUMNS),
    "sequences of names": _growth(growth.SEQUENCES, COLUMNS),
    "generator": generator,
}
