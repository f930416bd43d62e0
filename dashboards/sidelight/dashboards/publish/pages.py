"""Writes the generated pages of docs/, and the generated parts of others.

Run as `python -m sidelight.dashboards.publish.pages docs`; `make dashboards` does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sidelight.dashboards.publish import dashboard_pages, runbooks, slo_page

# By folder: from its pages by file name to what they are to hold.
_FILLED: Final[Mapping[str, Callable[[Mapping[str, str]], Mapping[str, str]]]] = {
    "dashboards": dashboard_pages.fill,
    "runbooks": runbooks.fill,
}


def main() -> None:
    """Write the pages of the folder that is named on the command line."""
    docs = Path(sys.argv[1])
    for folder, fill in _FILLED.items():
        pages = {path.name: path.read_text("utf-8") for path in (docs / folder).glob("*.md")}
        for name, text in fill(pages).items():
            (docs / folder / name).write_text(text, "utf-8")
    objectives = docs / "slo.md"
    objectives.write_text(slo_page.fill(objectives.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
