"""A hook of mkdocs.yml: an entry `name/*` in the menu becomes the pages of that folder.

So a new component is in the menu without a line of its own there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Replace each `folder/*` in the menu by the pages of that folder, sorted by name."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def _expanded(entries: list[Any], docs: Path) -> list[Any]:
    menu: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            ((title, inner),) = entry.items()
            menu.append({title: _expanded(inner, docs) if isinstance(inner, list) else inner})
        elif entry.endswith("/*"):
            pages = sorted((docs / entry).parent.glob("*.md"))
            menu += [str(page.relative_to(docs)) for page in pages if page.name != "index.md"]
        else:
            menu.append(entry)
    return menu
