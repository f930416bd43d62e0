"""/metrics: every source's families merged and written as OpenMetrics 1.0.0 or text 0.0.4."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from sidelight.collector.metrics.family import (
    AnyFamily,
    FamilyType,
    ScrapedFamily,
    Source,
    escaped,
)
from sidelight.otlp.prometheus.names import spelled
from sidelight.otlp.prometheus.values import Exemplar, samples

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

# Families beyond this many conflicts are dropped without a line of their own.
_MAX_CONFLICTS_LOGGED = 100

_TEXT_TYPES: dict[FamilyType, str] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "info": "gauge",
    "stateset": "gauge",
    "gaugehistogram": "untyped",
    "unknown": "untyped",
}

_logger = logging.getLogger(__name__)


class Exposition:
    """Renders all sources; of a name with two types the first source's is shown."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._conflicts: set[str] = set()

    def render(self, accept: str | None) -> tuple[str, bytes]:
        """Content type and body for an Accept header.

        Names are written as they are: colons survive every version of Prometheus.
        Exemplars are only in OpenMetrics.
        """
        openmetrics = prefers_openmetrics(accept)
        head = _openmetrics_head if openmetrics else _text_head
        parts: list[str] = []
        for families in self._by_name():
            parts.append(head(families[0]))
            for family in families:
                parts += sample_lines(family, exemplars=openmetrics)
        if openmetrics:
            parts.append("# EOF\n")
        return OPENMETRICS if openmetrics else TEXT, "".join(parts).encode()

    def _by_name(self) -> Iterable[list[AnyFamily]]:
        """The families of each name, in the order in which a name first came."""
        alike: dict[str, list[AnyFamily]] = {}
        for source in self._sources:
            for family in source.families():
                same = alike.setdefault(family.name, [])
                if not same or same[0].type == family.type:
                    same.append(family)
                else:
                    self._report(same[0], family)
        return alike.values()

    def _report(self, first: AnyFamily, second: AnyFamily) -> None:
        if first.name in self._conflicts or len(self._conflicts) >= _MAX_CONFLICTS_LOGGED:
            return
        self._conflicts.add(first.name)
        _logger.warning(
            "metric %s comes as a %s and as a %s; /metrics shows only the %s",
            first.name,
            first.type,
            second.type,
            first.type,
        )


def prefers_openmetrics(accept: str | None) -> bool:
    """Whether the header wants OpenMetrics 1.0.0 at least as much as the text format."""
    openmetrics = text = 0.0
    for media in (accept or "").lower().split(","):
        kind, *parameters = (part.strip() for part in media.split(";"))
        named = dict(part.split("=", 1) for part in parameters if "=" in part)
        try:
            quality = float(named.get("q", "1"))
        except ValueError:
            quality = 0.0
        if kind == "application/openmetrics-text":
            if named.get("version", "1.0.0") == "1.0.0":
                openmetrics = max(openmetrics, quality)
        elif kind == "text/plain":
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def sample_lines(family: AnyFamily, *, exemplars: bool) -> Iterator[str]:
    """The sample lines of a family, valid in both formats but for the exemplars."""
    if isinstance(family, ScrapedFamily):
        yield family.body
        return
    name, kind = family.name, family.type
    for series in family.series:
        braced = f"{{{series.labels}}}" if series.labels else ""
        with_own = f"{{{series.labels}," if series.labels else "{"
        for suffix, label, label_value, value, own in samples(kind, series.value):
            number = _number(value)
            # A sample has room for one exemplar.
            mark = _exemplar(own[-1]) if exemplars and own else ""
            if label:
                yield f'{name}{suffix}{with_own}{label}="{label_value}"}} {number}{mark}\n'
            else:
                yield f"{name}{suffix}{braced} {number}{mark}\n"


def _exemplar(exemplar: Exemplar) -> str:
    """What follows a sample's value in OpenMetrics."""
    trace_id, span_id, value, seconds = exemplar
    span = f',span_id="{span_id}"' if span_id else ""
    return f' # {{trace_id="{trace_id}"{span}}} {_number(value)} {seconds:.3f}'


def _number(value: int | float) -> str | int:
    return value if type(value) is int else spelled(value)


def _openmetrics_head(family: AnyFamily) -> str:
    return f"# HELP {family.name} {escaped(family.help)}\n# TYPE {family.name} {family.type}\n"


def _text_head(family: AnyFamily) -> str:
    name = family.name
    if family.type == "counter":
        name += "_total"
    elif family.type == "info":
        name += "_info"
    meaning = family.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {meaning}\n# TYPE {name} {_TEXT_TYPES[family.type]}\n"
