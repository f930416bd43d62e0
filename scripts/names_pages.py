"""Writes what the pages say of attributes and metrics from `sidelight.conventions`.

`names_pages.py docs`, which `make names` runs, writes docs/names.md and fills the tables of
docs/vllm.md: which names a table there lists is decided by hand, what it says of them is not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sidelight import conventions as c
from sidelight.conventions import vllm_tracer

EMITTERS = {
    "vllm": "vLLM",
    "clients": "clients",
    "collector": "collector",
    "injector": "injector",
    "apps": "apps",
}
SENSITIVE = " Can hold content."
INTRODUCTION = """\
# Attributes and metrics

<!-- Generated from sidelight.conventions by `make names`. Do not edit. -->

Every name that Sidelight writes or reads. Names of OpenTelemetry's conventions for GenAI and
databases and of OpenInference are used where they exist. The others begin with `sidelight.`,
`db.vector.`, `db.milvus.` or `db.qdrant.`, and some labels of metrics are one word.

"Emitted by" says which part writes a name:

- **vLLM**: Sidelight's instrumentation inside a [vLLM server](vllm.md).
- **clients**: Sidelight's instrumentation of [vector-database clients](vector-databases.md).
- **collector**: the collector, which renames what other instrumentations write, adds computed
  values, and has metrics of its own on `/metrics`.
- **injector**: the injector, which adds Sidelight to pods in Kubernetes, on its own `/metrics`.
- **apps**: apps and other instrumentations. Sidelight or a backend reads the name.

Units are UCUM: `s` is seconds, `By` is bytes, `1` is a ratio, and braces name what is counted.

## Attributes
Attributes that can hold content are captured only if `SIDELIGHT_CAPTURE_CONTENT` allows it. The
collector can remove, cut and mask them ([processors](processors.md)).
"""
METRICS = """\
## Metrics
The first name is OpenTelemetry's, the second is Prometheus's. A histogram also has the suffixes
`_bucket`, `_sum` and `_count` there.
"""
TRACER = """\
## Names of vLLM's own tracer
vLLM's `--otlp-traces-endpoint` writes these. The collector renames them, because Langfuse adds
any unknown `gen_ai.usage.*` to the token total.
"""


def main(docs: Path) -> None:
    """Write the pages in the folder `docs`."""
    (docs / "names.md").write_text(names_page())
    vllm = docs / "vllm.md"
    vllm.write_text(filled(vllm.read_text()))


def names_page() -> str:
    """The page of all names as Markdown."""
    return "\n".join(
        [INTRODUCTION, *attribute_tables(), METRICS, *metric_tables(), TRACER, *tracer_names()]
    )


def filled(page: str) -> str:
    """`page` with its rows of names as the conventions have them.

    A row that starts with an attribute gets the columns unit and meaning; one that starts with
    a metric gets kind, unit and meaning. Rows are told by the heading of their table.
    """
    lines: list[str] = []
    column = ""
    for line in page.split("\n"):
        if match := re.match(r"\| (attribute|metric) \|", line):
            column = match[1]
        elif not line.startswith("|"):
            column = ""
        name = re.match(r"\| `([^`]+)` \|", line)
        if name and column == "attribute":
            attribute = c.ATTRIBUTES[name[1]]
            line = _row(f"`{attribute.name}`", _code(attribute.unit), attribute.meaning)
        elif name and column == "metric":
            metric = c.METRICS[name[1]]
            line = _row(f"`{metric.name}`", metric.instrument, _code(metric.unit), metric.meaning)
        lines.append(line)
    return "\n".join(lines)


def attribute_tables() -> Iterator[str]:
    """A heading and a table for each group of attributes."""
    for group in _groups(c.ATTRIBUTES.values()):
        yield f"### {group}"
        yield from _table_head("attribute", "unit", "meaning", "emitted by")
        for attribute in c.ATTRIBUTES.values():
            if attribute.group == group:
                meaning = attribute.meaning + (SENSITIVE if attribute.sensitive else "")
                yield _row(
                    f"`{attribute.name}`",
                    _code(attribute.unit),
                    meaning,
                    _emitted_by(attribute.emitters),
                )
        yield ""


def metric_tables() -> Iterator[str]:
    """A heading and a table for each group of metrics."""
    for group in _groups(c.METRICS.values()):
        yield f"### Metrics: {group}"
        yield from _table_head("metric", "kind", "unit", "meaning", "emitted by")
        for metric in c.METRICS.values():
            if metric.group == group:
                suffix = "_total" if metric.instrument == "counter" else ""
                yield _row(
                    f"`{metric.name}`<br>`{c.prometheus_name(metric.name)}{suffix}`",
                    metric.instrument,
                    _code(metric.unit),
                    metric.meaning,
                    _emitted_by(metric.emitters),
                )
        yield ""


def tracer_names() -> Iterator[str]:
    """A list of the names in `vllm_tracer`."""
    for constant, name in vars(vllm_tracer).items():
        if constant.startswith("VLLM_"):
            yield f"- `{name}`"
    yield ""


def _groups(names: Iterable[c.Attribute | c.Metric]) -> list[str]:
    """The groups, those of the observed processes first."""
    first_emitter: dict[str, str] = {}
    for name in names:
        first_emitter.setdefault(name.group, name.emitters[0])
    order = list(EMITTERS)
    return sorted(first_emitter, key=lambda group: order.index(first_emitter[group]))


def _table_head(*columns: str) -> Iterator[str]:
    yield _row(*columns)
    yield "|" + "---|" * len(columns)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _emitted_by(emitters: Iterable[str]) -> str:
    return ", ".join(EMITTERS[emitter] for emitter in emitters)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
