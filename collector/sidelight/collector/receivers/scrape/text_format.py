"""Reads a scraped exposition (text 0.0.4 or OpenMetrics) into families, and adds labels.

It parses only what is needed: values stay text, and a series of the last scrape is looked up
instead of parsed. The result can be written in either format, and Prometheus can read it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate

from sidelight import conventions
from sidelight.base.marks import mark_of
from sidelight.collector.metrics.family import FamilyType, ScrapedFamily, labels_text
from sidelight.otlp.prometheus.values import spelled

_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*+[ \t]*+=[ \t]*+"(?:[^"\\]++|\\.)*+"[ \t]*+'
# All quantifiers are possessive, so a hostile line is refused in linear time.
_SAMPLE = re.compile(
    r"[ \t]*+([a-zA-Z_:][a-zA-Z0-9_:]*+)"
    rf"(?:[ \t]*+\{{[ \t]*+((?:{_LABEL}(?:,[ \t]*+|(?=\}})))*+)\}}[ \t]*+|[ \t]++)"
    r"([^ \t]++)(?:[ \t]++[-+.0-9eE]++)?+[ \t]*+(?:#.*)?+"
)
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]++|\\.)*+)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "\\": "\\", '"': '"'}

# Names that Prometheus 2 accepts. It fails a whole scrape for one name with other characters.
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
    """A text that is not an exposition. The message has the number of the line and no word of it.

    A wrong URL may lead to a page with content, and the message is logged.
    """


@dataclass(slots=True)
class _Group:
    name: str
    type: FamilyType
    help: str = ""
    lines: list[str] = field(default_factory=list)


class TextReader:
    """Reads the expositions of one target. `extra` labels come before each sample's own.

    A sample's own label of the same name becomes `exported_<name>`, as in Prometheus. With
    `families` (`*` and `?` match) only these are read. They are named as in the exposition, a
    counter with or without `_total`.
    """

    def __init__(self, extra: Mapping[str, str], families: Sequence[str] = ()) -> None:
        self._extra = dict(extra)
        self._selected = re.compile("|".join(map(translate, families))) if families else None
        self._known: dict[str, str] = {}
        # The scraper itself says whether the target is up.
        self._up = f"{conventions.TARGET_UP}{{{labels_text(extra)}}}"
        self.dropped: Counter[str] = Counter()
        """Samples of the last scrape that cannot be shown, by reason."""

    def read(self, text: str, *, openmetrics: bool) -> list[ScrapedFamily]:
        """The families of one scrape, without `_created` samples, timestamps and exemplars.

        Timestamps are dropped: the formats use different units, and the time of the scrape is
        more useful. `openmetrics`: the target declared OpenMetrics as its content type.

        Raises `MalformedExpositionError`. Like Prometheus, it then returns nothing of the text.
        """
        # Not splitlines: it also splits at characters that a label's value may have.
        lines = text.replace("\r\n", "\n").split("\n")
        groups = _groups(lines, openmetrics=openmetrics)
        is_selected: dict[str, bool] = {}
        known, self._known = self._known, {}
        self.dropped.clear()
        shown: set[str] = set()
        for line_number, line in enumerate(lines, start=1):
            if not line or line[0] == "#":
                continue
            if self._selected is not None and not _selects(
                self._selected, line, groups, is_selected
            ):
                continue
            # The fast path: a series of the last scrape, and a number after the last space.
            series, _, value = line.rpartition(" ")
            spelled_series = known.get(series)
            number = None if spelled_series is None else _number(value)
            if spelled_series is not None and number is not None:
                name = series.partition("{")[0]
                group = groups.get(name) or _untyped(groups, name)
                self._known[series] = spelled_series
            elif not line.strip():
                continue
            else:
                match = _SAMPLE.fullmatch(line)
                number = None if match is None else _number(match[3])
                if match is None or number is None:
                    raise MalformedExpositionError(
                        f"line {line_number} is not a sample ({mark_of('text', line.encode())})"
                    )
                name = match[1]
                group = groups.get(name) or _untyped(groups, name)
                try:
                    spelled_series = self._spell(name, match[2] or "", group.type)
                except ValueError:
                    # Without its message: Python's quotes the value.
                    raise MalformedExpositionError(
                        f"line {line_number} repeats a label or has a bound that is no number "
                        f"({mark_of('text', line.encode())})"
                    ) from None
                if match.end(3) == len(line):  # otherwise a timestamp or exemplar follows
                    self._known[series] = spelled_series
            if not number:
                self.dropped["out_of_range"] += 1
            elif spelled_series == self._up:
                self.dropped["reserved"] += 1
            elif spelled_series in shown:
                # A repeated series counts once, as in Prometheus.
                self.dropped["duplicate"] += 1
            else:
                shown.add(spelled_series)
                group.lines.append(f"{spelled_series} {number}\n")
        return self._families(groups)

    def _spell(self, name: str, own: str, type_: FamilyType) -> str:
        pairs = dict(self._extra)
        own_pairs: dict[str, str] = {}
        bound = _BOUND.get(type_)
        for label, escaped in _PAIR.findall(own):
            value = _unescape(escaped)
            # "0.10" and "0.1" are the same bucket: all sources must spell it alike.
            if label == bound:
                value = spelled(float(value))
            if label in own_pairs:
                raise ValueError("a label is repeated")
            own_pairs[label] = value
        # Sorted, so that one series has one text.
        for label, value in sorted(own_pairs.items()):
            shown = label
            while (
                shown in self._extra
                or shown == "__name__"
                or (shown != label and shown in own_pairs)
            ):
                shown = f"exported_{shown}"
            pairs[shown] = value
        return f"{name}{{{labels_text(pairs)}}}" if pairs else name

    def _families(self, groups: Mapping[str, _Group]) -> list[ScrapedFamily]:
        """The groups with samples, without creation times.

        If an untyped sample has the name of a typed family, the family counts; it comes first.
        """
        unique: dict[str, _Group] = {}
        for group in groups.values():
            if group.lines and unique.setdefault(group.name, group) is not group:
                self.dropped["type_conflict"] += len(group.lines)
        return [
            ScrapedFamily(group.name, group.type, group.help, "".join(group.lines))
            for group in unique.values()
            if not _is_created(group.name, unique)
        ]


def _selects(
    pattern: re.Pattern[str],
    line: str,
    groups: Mapping[str, _Group],
    is_selected: dict[str, bool],
) -> bool:
    """Whether `pattern` selects the family of the line; `is_selected` caches it by sample name."""
    name = line.partition("{")[0].partition(" ")[0]
    selects = is_selected.get(name)
    if selects is None:
        family = groups[name].name if name in groups else name
        selects = bool(pattern.match(family) or pattern.match(f"{family}_total"))
        is_selected[name] = selects
    return selects


def _groups(lines: list[str], *, openmetrics: bool) -> dict[str, _Group]:
    """The groups that TYPE lines declare, by the names of their samples."""
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
                family, kind = name, "unknown"  # in OpenMetrics every counter ends in `_total`
        elif kind == "gauge" and name == "target_info":
            # The text format has no type for it, and received resources have one of that name.
            family, kind = "target", "info"
        group = _Group(family, kind, helps.get(name, ""))
        for suffix in _SUFFIXES[kind]:
            groups.setdefault(family + suffix, group)
    return groups


def _untyped(groups: dict[str, _Group], name: str) -> _Group:
    group = groups[name] = _Group(name, "unknown")
    return group


def _is_created(name: str, groups: Mapping[str, _Group]) -> bool:
    base = groups.get(name.removesuffix("_created"))
    return (
        base is not None
        and base.name != name
        and base.type in ("counter", "histogram", "summary", "gaugehistogram")
    )


def _number(text: str) -> str | None:
    """A number as Prometheus reads it; empty if it is out of range, None if it is not a number."""
    try:
        value = float(text)
    except ValueError:
        return None
    # Python also reads other digits, 1_000 and numbers beside a form feed, which Go refuses.
    if not text.isascii() or not text.isprintable() or "_" in text:
        return None
    if math.isfinite(value):
        return text
    # C writes -nan, which Go refuses as well.
    if not any(character.isdigit() for character in text):
        return spelled(value)
    return ""


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), text)
