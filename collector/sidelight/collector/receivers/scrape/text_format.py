"""A scraped exposition (text 0.0.4 or OpenMetrics) read into families with labels added.

Only as far as needed: values stay text, and a series seen in the last scrape is looked up,
not parsed again. What is read can be written again without breaking either format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate

from sidelight.collector.metrics.family import FamilyType, ScrapedFamily, labels_text
from sidelight.otlp.prometheus.names import spelled

_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*+[ \t]*+=[ \t]*+"(?:[^"\\]++|\\.)*+"[ \t]*+'
# Possessive throughout: a hostile line is refused in linear time.
_SAMPLE = re.compile(
    r"[ \t]*+([a-zA-Z_:][a-zA-Z0-9_:]*+)"
    rf"(?:[ \t]*+\{{[ \t]*+((?:{_LABEL}(?:,[ \t]*+|(?=\}})))*+)\}}[ \t]*+|[ \t]++)"
    r"([^ \t]++)(?:[ \t]++[-+.0-9eE]++)?+[ \t]*+(?:#.*)?+"
)
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]++|\\.)*+)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "\\": "\\", '"': '"'}

# What Prometheus stores of a name before UTF-8 names; others are refused, since Prometheus 2
# fails a whole scrape for one bad name.
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

_TYPES: dict[str, FamilyType] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "info": "info",
    "stateset": "stateset",
    "gaugehistogram": "gaugehistogram",
    "untyped": "unknown",
    "unknown": "unknown",
}
_SUFFIXES: dict[FamilyType, tuple[str, ...]] = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
    "info": ("_info",),
    "stateset": ("",),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "unknown": ("",),
}
_BOUND = {"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}


class MalformedExpositionError(Exception):
    """A text that is no exposition; the message names the line by number and shows its start."""


@dataclass(slots=True)
class _Group:
    name: str
    type: FamilyType
    help: str = ""
    lines: list[str] = field(default_factory=list)


class TextReader:
    """Reads one target's expositions; `extra` labels are put before each sample's own.

    A sample's own label of the same name is kept as `exported_<name>`, as Prometheus does.
    With `families` (`*` and `?` match) only these are read; the lines of others are not looked
    at. They are named as in the exposition, a counter's `_total` included or not.
    """

    def __init__(self, extra: Mapping[str, str], families: Sequence[str] = ()) -> None:
        self._extra = dict(extra)
        self._wanted = re.compile("|".join(map(translate, families))) if families else None
        self._known: dict[str, str] = {}

    def read(self, text: str, *, openmetrics: bool) -> list[ScrapedFamily]:
        """The families of one scrape, without `_created` samples, timestamps and exemplars.

        Timestamps go because the two formats disagree on their unit and a scrape's own time
        is the better one. `openmetrics` is the content type the target declared.

        Raises `MalformedExpositionError`; then nothing of the text may be used, as with Prometheus.
        """
        lines = text.replace("\r\n", "\n").split("\n")
        groups = _groups(lines, openmetrics=openmetrics)
        kept: dict[str, bool] = {}
        known, self._known = self._known, {}
        for line_number, line in enumerate(lines, start=1):
            if not line or line[0] == "#":
                continue
            if self._wanted is not None and not _keeps(self._wanted, line, groups, kept):
                continue
            series, _, value = line.rpartition(" ")
            spelled = known.get(series)
            if spelled is not None and _is_number(value):
                group = groups.get(series.partition("{")[0])
                if group is None:
                    group = _untyped(groups, series.partition("{")[0])
            elif not line.strip():
                continue
            else:
                match = _SAMPLE.fullmatch(line)
                if match is None or not _is_number(match[3]):
                    raise MalformedExpositionError(
                        f"line {line_number} is no sample: {line[:80]!r}"
                    )
                name, value = match[1], match[3]
                group = groups.get(name) or _untyped(groups, name)
                try:
                    spelled = self._spell(name, match[2] or "", group.type)
                except ValueError as error:
                    raise MalformedExpositionError(
                        f"line {line_number}: {error}: {line[:80]!r}"
                    ) from None
                if match.end(3) != len(line):  # a timestamp or exemplar: not `series value`
                    group.lines.append(f"{spelled} {value}\n")
                    continue
            if series in self._known:
                continue
            self._known[series] = spelled
            group.lines.append(f"{spelled} {value}\n")
        return _families(groups)

    def _spell(self, name: str, own: str, type_: FamilyType) -> str:
        pairs = dict(self._extra)
        bound = _BOUND.get(type_)
        for label, escaped in _PAIR.findall(own):
            value = _unescape(escaped)
            if label == bound:
                value = spelled(float(value))
            if label in self._extra:
                label = f"exported_{label}"
            if label in pairs:
                raise ValueError(f"label {label} stands twice")
            pairs[label] = value
        return f"{name}{{{labels_text(pairs)}}}" if pairs else name


def _keeps(
    wanted: re.Pattern[str], line: str, groups: Mapping[str, _Group], kept: dict[str, bool]
) -> bool:
    """Whether the line's family is to be read; `kept` remembers it by sample name."""
    name = line.partition("{")[0].partition(" ")[0]
    keeps = kept.get(name)
    if keeps is None:
        family = groups[name].name if name in groups else name
        keeps = kept[name] = bool(wanted.match(family) or wanted.match(f"{family}_total"))
    return keeps


def _groups(lines: list[str], *, openmetrics: bool) -> dict[str, _Group]:
    """A group for each sample name that a TYPE line announces."""
    types: dict[str, FamilyType] = {}
    helps: dict[str, str] = {}
    for line in lines:
        if line.startswith("# TYPE "):
            _, _, rest = line.split(" ", 2)
            name, _, type_ = rest.strip().partition(" ")
            if _METRIC_NAME.fullmatch(name) and name not in types:
                types[name] = _TYPES.get(type_.strip(), "unknown")
        elif line.startswith("# HELP "):
            _, _, rest = line.split(" ", 2)
            name, _, meaning = rest.partition(" ")
            helps[name] = _unescape(meaning)
    groups: dict[str, _Group] = {}
    for name, announced in types.items():
        family = name
        kind: FamilyType = announced
        if kind == "counter" and not openmetrics:
            family = name.removesuffix("_total")
            if family == name or family in types:
                family, kind = name, "unknown"  # OpenMetrics wants `_total` on every counter
        group = _Group(family, kind, helps.get(name, ""))
        for suffix in _SUFFIXES[kind]:
            groups.setdefault(family + suffix, group)
    return groups


def _untyped(groups: dict[str, _Group], name: str) -> _Group:
    group = groups[name] = _Group(name, "unknown")
    return group


def _families(groups: dict[str, _Group]) -> list[ScrapedFamily]:
    """The groups that hold samples, without those of creation times.

    Of a typed family and a stray sample of its bare name the typed one, which stands first,
    is kept.
    """
    unique: dict[str, _Group] = {}
    for group in groups.values():
        if group.lines:
            unique.setdefault(group.name, group)
    return [
        ScrapedFamily(group.name, group.type, group.help, "".join(group.lines))
        for group in unique.values()
        if not _is_created(group.name, unique)
    ]


def _is_created(name: str, groups: Mapping[str, _Group]) -> bool:
    base = groups.get(name.removesuffix("_created"))
    return (
        base is not None
        and base.name != name
        and base.type in ("counter", "histogram", "summary", "gaugehistogram")
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), text)
