"""The layers of the import contracts, as a table of docs/architecture.md.

`make generated` writes it into the page.
"""

from __future__ import annotations

import re
import tomllib

from support.paths import DOCS, ROOT

PAGE = DOCS / "architecture.md"


def written(text: str) -> str:
    """The page with the table of today's contracts."""
    table = "\n".join(["| layers of | from top to bottom |", "|---|---|", *_rows()])
    mark = "<!-- layers -->\n{}\n<!-- end -->"
    return re.sub(mark.format(".*?"), lambda _: mark.format(table), text, flags=re.DOTALL)


def _rows() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    return [
        f"| {contract['name'].split(':')[0]} | {', '.join(map(_layer, contract['layers']))} |"
        for contract in contracts
        if contract["type"] == "layers"
    ]


def _layer(layer: str) -> str:
    """`a | b` are side by side; the namespace that all have is left out."""
    names = [name.strip().removeprefix("sidelight.") for name in layer.split("|")]
    return " with ".join(f"`{name.removeprefix('collector.')}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
