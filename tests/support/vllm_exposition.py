"""Recorded vLLM expositions that move: as any release, prefix or scrape would show them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

DATA = Path(__file__).parent.parent / "data" / "vllm"

# What a name of an older release is called in 0.32, where the recordings come from.
# From vLLM's release notes and source; deliberately not read from Sidelight's catalog.
PREDECESSORS = {
    "gpu_cache_usage_perc": "kv_cache_usage_perc",
    "gpu_prefix_cache_hits": "prefix_cache_hits",
    "gpu_prefix_cache_queries": "prefix_cache_queries",
    "time_per_output_token_seconds": "inter_token_latency_seconds",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of an exposition."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    moves: bool


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of an exposition; `name` is without `_total` for counters."""

    name: str
    kind: str
    samples: tuple[Sample, ...]

    def called(self, name: str) -> Family:
        """The same family under another name."""
        samples = tuple(
            replace(sample, name=name + sample.name.removeprefix(self.name))
            for sample in self.samples
        )
        return replace(self, name=name, samples=samples)

    def labelled(self, **labels: str) -> Family:
        """The same family with more labels."""
        samples = tuple(
            replace(sample, labels=sample.labels + tuple(labels.items())) for sample in self.samples
        )
        return replace(self, samples=samples)


Exposition = tuple[Family, ...]


def recording(name: str) -> Exposition:
    """A recorded exposition: vLLM's and the process's families, without `_created` gauges."""
    return tuple(
        family
        for family in recorded_families((DATA / name).read_text())
        if family.name.startswith(("vllm:", "process_")) and not family.name.endswith("_created")
    )


def recorded_families(text: str) -> Exposition:
    """Every family of an exposition."""
    return tuple(
        Family(
            family.name,
            family.type,
            tuple(
                Sample(
                    sample.name,
                    tuple(sample.labels.items()),
                    sample.value,
                    moves=family.type in ("counter", "histogram", "summary"),
                )
                for sample in family.samples
            ),
        )
        for family in text_string_to_metric_families(text)
    )


def history() -> dict[str, frozenset[str]]:
    """Names of vLLM's metrics by release, without `vllm:` and without a counter's `_total`."""
    text = (DATA / "metric-history.md").read_text()
    rows = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
    versions = rows[0][1:]
    everywhere = re.search(r"^in all: \[(.*)\]$", text, re.MULTILINE)
    assert everywhere is not None
    common = {_bare(name) for name in re.findall(r"'vllm:(\w+)'", everywhere[1])}
    return {
        version: frozenset(
            common
            | {_bare(row[0].removeprefix("vllm:")) for row in rows[2:] if row[1 + column] == "x"}
        )
        for column, version in enumerate(versions)
    }


def _bare(name: str) -> str:
    # A histogram of this name, not a counter.
    return name if name == "iteration_tokens_total" else name.removesuffix("_total")


def as_release(exposition: Exposition, version: str) -> Exposition:
    """What an older release would have exported for the same work."""
    names = history()[version]
    successors: dict[str, list[str]] = {}
    for old, new in PREDECESSORS.items():
        successors.setdefault(new, []).append(old)

    def families() -> Iterator[Family]:
        for family in exposition:
            if not family.name.startswith("vllm:"):
                yield family
                continue
            bare = family.name.removeprefix("vllm:")
            for name in (bare, *successors.get(bare, ())):
                if name in names:
                    yield family.called(f"vllm:{name}")

    return tuple(families())


def through_ray(exposition: Exposition, prefix: str) -> Exposition:
    """The same through Ray Serve: prefix, Ray's labels, each counter also as a gauge."""

    def families() -> Iterator[Family]:
        for family in exposition:
            if not family.name.startswith("vllm:"):
                continue
            name = prefix + family.name.removeprefix("vllm:")
            rayed = family.called(name).labelled(
                ReplicaId="r-1", WorkerId="w-1", SessionName="s-1", Version="2.48.0"
            )
            yield rayed
            if family.kind == "counter":
                aliases = tuple(replace(sample, name=name) for sample in rayed.samples)
                yield Family(name, "gauge", aliases)

    return tuple(families())


def with_both_prefixes(exposition: Exposition) -> Exposition:
    """Every vLLM family under `vllm:` and `vllm_`, as while a mangled scrape is being mended."""
    mangled = tuple(
        family.called(family.name.replace("vllm:", "vllm_"))
        for family in exposition
        if family.name.startswith("vllm:")
    )
    return exposition + mangled


def with_prefix(exposition: Exposition, prefix: str) -> Exposition:
    """Every vLLM family under a prefix that an operator chose."""
    return tuple(
        family.called(f"{prefix}{family.name}") if family.name.startswith("vllm:") else family
        for family in exposition
    )


def renamed(exposition: Exposition, old: str, new: str) -> Exposition:
    """With one series under another name."""
    return _changed(
        exposition,
        lambda sample: replace(sample, name=new) if sample.name == old else sample,
    )


def relabelled(exposition: Exposition, name: str, old: str, new: str) -> Exposition:
    """With another label in the series of one name."""

    def changed(sample: Sample) -> Sample:
        labels = tuple((new if label == old else label, value) for label, value in sample.labels)
        return replace(sample, labels=labels) if sample.name == name else sample

    return _changed(exposition, changed)


def rebounded(exposition: Exposition, family: str, old: str, new: str) -> Exposition:
    """With another bound of one bucket of a histogram."""

    def changed(sample: Sample) -> Sample:
        labels = tuple(
            (label, new if (label, value) == ("le", old) else value)
            for label, value in sample.labels
        )
        return replace(sample, labels=labels) if sample.name == f"{family}_bucket" else sample

    return _changed(exposition, changed)


def _changed(exposition: Exposition, change: Callable[[Sample], Sample]) -> Exposition:
    return tuple(
        replace(family, samples=tuple(map(change, family.samples))) for family in exposition
    )


def text_at(exposition: Exposition) -> Callable[[float], str]:
    """Prometheus text after some seconds of steady work, in which counters double in a minute.

    Made ready beforehand: a scrape of many of these at once must not take seconds.
    """
    lines = [(_head(sample), sample) for family in exposition for sample in family.samples]

    def text(seconds: float) -> str:
        return "".join(f"{head} {_value(sample, seconds)}\n" for head, sample in lines)

    return text


def _head(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{sample.name}{{{labels}}}"


def _value(sample: Sample, seconds: float) -> float:
    return sample.value * (1 + seconds / 60) if sample.moves else sample.value


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@dataclass(slots=True, eq=False)
class MovingCollector:
    """The exposition for prometheus_client's own encoders, as a vLLM process has it."""

    exposition: Exposition
    seconds: float = 0.0

    def collect(self) -> Iterator[Metric]:
        """The families at `seconds`."""
        for family in self.exposition:
            metric = Metric(family.name, family.name, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), _value(sample, self.seconds))
            yield metric
