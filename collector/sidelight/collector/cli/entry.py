"""The `sidelight` command's door: a clear sentence where the optional parts are missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; exits 2 if the extra it needs is not installed."""
    try:
        from sidelight.collector.cli.main import sidelight

        sidelight()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "sidelight"):
            raise
        sys.stderr.write(
            f"sidelight: the command needs {missing}, which is not installed: "
            "pip install 'sidelight[all]'\n"
        )
        sys.exit(2)
