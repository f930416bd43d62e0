"""The committed dashboards and rules, which a test says are what the code generates."""

from __future__ import annotations

from typing import Any, Final

import yaml

from support.paths import ROOT

FILES: Final = {
    path.name: path.read_text("utf-8") for path in (ROOT / "dashboards" / "generated").iterdir()
}


def parsed(name: str) -> Any:
    """A YAML file. The loader in C takes a tenth of the time, in each process of a run."""
    return yaml.load(FILES[name], yaml.CSafeLoader)
