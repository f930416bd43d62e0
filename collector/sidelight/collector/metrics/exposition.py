"""/metrics: every source's families merged and written as OpenMetrics 1.0.0 or text 0.0.4."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from sidelight import conventions
from sidelight.collector.metrics.family import (
    AnyFamily,
    Family,
    FamilyType,
    ScrapedFamily,
    Series,
    escaped,
    labels_text,
)
from sidelight.collector.metrics.page import Families, Hidden, Reason, SourceName, arrange
from sidelight.otlp.prometheus.values import Exemplar, NumberValue, samples, spelled

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

_HIDDEN: Final = conventions.COLLECTOR_METRIC_SERIES_HIDDEN
_HIDDEN_NAME: Final = conventions.prometheus_name(_HIDDEN)
# Senders choose names: families beyond this number are left out without a line of their own.
_MAX_CONFLICTS_LOGGED = 100

# The text format has fewer types: the nearest stands for each.
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
    """Renders the families of all sources; what cannot be shown is counted on the page itself."""

    def __init__(self, families: Callable[[], Families]) -> None:
        """`families` is called for each page."""
        self._families = families
        self._logged: set[str] = set()

    def render(self, accept: str | None) -> tuple[str, bytes]:
        """Content type and body for an Accept header.

        Names are written as they are: colons survive every version of Prometheus.
        Exemplars are only in OpenMetrics.
        """
        openmetrics = prefers_openmetrics(accept)
        head = _openmetrics_head if openmetrics else _text_head
        parts: list[str] = []
        for families in self._arranged():
            parts.append(head(families[0]))
            for family in families:
                parts += sample_lines(family, exemplars=openmetrics)
        if openmetrics:
            parts.append("# EOF\n")
        return OPENMETRICS if openmetrics else TEXT, "".join(parts).encode()

    def _arranged(self) -> list[list[AnyFamily]]:
        """The families of each name, in the order in which a name first came."""
        count = Family(_HIDDEN_NAME, "gauge", conventions.METRICS[_HIDDEN].meaning, [])
        families = self._families()
        page = arrange(replace(families, own=(count, *families.own)))
        series: Counter[tuple[SourceName, Reason]] = Counter()
        for hidden in page.hidden:
            series[hidden.source, hidden.reason] += hidden.series
            self._log(hidden)
        # Only now is known what is left out; the family has its place already, and its name.
        count.series += [
            Series(labels_text({"source": source, "reason": reason}), NumberValue(number))
            for (source, reason), number in sorted(series.items())
        ]
        return page.families if count.series else page.families[1:]

    def _log(self, hidden: Hidden) -> None:
        if hidden.name in self._logged or len(self._logged) >= _MAX_CONFLICTS_LOGGED:
            return
        self._logged.add(hidden.name)
        _logger.warning(
            "/metrics leaves out %d series of %s (%s, a %s, %s), because %s has the name; "
            "rename the metric at its sender or target",
            hidden.series,
            hidden.name,
            hidden.source,
            hidden.type,
            hidden.reason,
            hidden.shown,
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
        # Once for all samples of the series: a histogram has dozens.
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
    # A whole number stays whole above 2**53, where a double would round it.
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
