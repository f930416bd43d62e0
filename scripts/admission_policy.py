"""Writes the chart's admission policy and its binding: admission_policy.py DIRECTORY."""

from __future__ import annotations

import sys
from pathlib import Path

from sidelight.injection.policy import files


def main() -> None:
    """Write the files into the folder that is the only argument."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text)


main()
