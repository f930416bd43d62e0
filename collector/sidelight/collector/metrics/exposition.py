"""/metrics: every source's families merged and written as OpenMetrics 1.0.0 or text 0.0.4."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sidelight.collector.metrics.family import Family, FamilyType, Source, escape

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"

# Families beyond this many conflicts are dropped without a line of their own.
_MOST_CONFLICTS_LOGGED = 100

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
        merged: dict[str, tuple[Family, list[str]]] = {}
        for source in self._sources:
            for family in source.families(exemplars=openmetrics):
                first, bodies = merged.setdefault(family.name, (family, []))
                if family.type == first.type:
                    bodies.append(family.body)
                else:
                    self._report(first, family)
        head = _openmetrics_head if openmetrics else _text_head
        parts: list[str] = []
        for family, bodies in merged.values():
            parts.append(head(family))
            parts += bodies
        if openmetrics:
            parts.append("# EOF\n")
        return OPENMETRICS if openmetrics else TEXT, "".join(parts).encode()

    def _report(self, first: Family, second: Family) -> None:
        if first.name in self._conflicts or len(self._conflicts) >= _MOST_CONFLICTS_LOGGED:
            return
        self._conflicts.add(first.name)
        _logger.warning(
            "metric %s comes as a %s and as a %s; only the %s is shown on /metrics",
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


def _openmetrics_head(family: Family) -> str:
    return f"# HELP {family.name} {escape(family.help)}\n# TYPE {family.name} {family.type}\n"


def _text_head(family: Family) -> str:
    name = family.name
    if family.type == "counter":
        name += "_total"
    elif family.type == "info":
        name += "_info"
    meaning = family.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {meaning}\n# TYPE {name} {_TEXT_TYPES[family.type]}\n"
