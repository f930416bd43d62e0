"""The page that draws a dashboard, bundled with Grafana's packages in the user cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from support.node.packages import packages, run

_PAGE: Final = Path(__file__).with_name("page")


def bundled() -> Path:
    """The folder with main.js and main.css.

    Raises `NodeError` without npm, or if npm or esbuild fails.
    """
    print("Grafana's packages from npm (two minutes the first time) ...", flush=True)
    folder = packages(_PAGE / "package.json")
    for source in _PAGE.iterdir():
        shutil.copy(source, folder)
    run(["node", "build.mjs"], folder)
    return folder / "dist"
