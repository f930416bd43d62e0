"""The `sidelight` command's door: a clear sentence where the optional parts are missing."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command line; exits 2 if the extra it needs is not installed."""
    for module in ("click", "rich"):
        if importlib.util.find_spec(module) is None:
            sys.exit(_missing(module))
    from sidelight.collector.cli import sidelight

    sidelight()


def _missing(module: str) -> int:
    sys.stderr.write(
        f"sidelight: the command needs {module}, which is not installed: "
        "pip install 'sidelight[collector]'\n"
    )
    return 2
