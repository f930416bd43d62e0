"""The tables of docs/processors.md, made from the data that the collector works with.

`make generated` writes them into the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sidelight.collector.processors.content import names as sensitive
from sidelight.collector.processors.extensions.processor import MAX_FAULTS
from sidelight.collector.processors.normalise.instrumentors.plain import PLAIN
from sidelight.collector.processors.normalise.registry import TABLES
from sidelight.collector.processors.normalise.table import Table
from sidelight.collector.processors.redact.rules import RULES
from support.paths import DOCS

PAGE = DOCS / "processors.md"

_KINDS = {
    "text": "texts",
    "documents": "documents",
    "id": "ids of documents",
    "score": "scores of documents",
    "vector": "embeddings",
}


def parts() -> dict[str, str]:
    """What stands between the markers of the page, by their names."""
    return {
        "namespaces": _codes(sensitive.NAMESPACES),
        "last segments": _codes(sorted(sensitive.LAST_SEGMENTS)),
        "sensitive": _sensitive(),
        "events": _codes(sorted(sensitive.EVENTS)),
        "rules": _rules(),
        "most faults": str(MAX_FAULTS),
        "hints": " or ".join(f"`{hint.decode()}`" for hint in PLAIN.hints),
        "tables": "\n\n".join(_table(table) for table in TABLES),
    }


def written(page: str) -> str:
    """The page with every part between its markers made anew. Raises `KeyError` for a marker
    that names no part."""
    made = parts()

    def part(match: re.Match[str]) -> str:
        name, gap = match.group(1), "\n" if "\n" in match.group(2) else ""
        return f"<!-- {name} -->{gap}{made[name]}{gap}<!-- end -->"

    return re.sub(r"<!-- ([a-z ]+) -->(.*?)<!-- end -->", part, page, flags=re.DOTALL)


def _sensitive() -> str:
    rows = ["| holds | names |", "|---|---|"]
    for kind, meaning in _KINDS.items():
        names = [name for name, each in sensitive.EXACT.items() if each == kind]
        names += [f"{name}*" for name, each in sensitive.FAMILIES.items() if each == kind]
        if names:
            rows.append(f"| {meaning} | {_codes(sorted(names))} |")
    return "\n".join(rows)


def _rules() -> str:
    rows = ["| rule | masks | with |", "|---|---|---|"]
    rows += [f"| `{rule.name}` | {rule.meaning} | `{rule.mark}` |" for rule in RULES]
    return "\n".join(rows)


def _table(table: Table) -> str:
    lines = [f"### {table.name[0].upper()}{table.name[1:]}"]
    if table.scopes:
        lines.append(f"Scopes: {_codes(table.scopes)}, and what continues them with a point.")
    rows = ["| name | becomes |", "|---|---|"]
    rows += [f"| `{name}` | `{to}` |" for name, to in table.renamed.items()]
    rows += [f"| `{start}*{end}` | `{to}` |" for start, end, to in table.renamed_patterns]
    rows += [f"| `{name}` | `{to}` as well |" for name, to in table.copied.items()]
    rows += [f"| `{name}` | goes |" for name in sorted(table.dropped)]
    lines.append("\n".join(rows))
    if table.kind_attribute:
        lines.append(f"Kind by `{table.kind_attribute}`: {_pairs(table.kinds)}.")
    return "\n\n".join(lines)


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {to}" for name, to in values.items())


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
