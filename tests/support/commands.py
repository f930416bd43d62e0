"""The `sidelight` command in the process of the tests. One of its own imports for half a second."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from click.testing import CliRunner

from sidelight.collector.cli.main import sidelight
from support.collector import environment


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def command(*arguments: str | Path, cwd: Path, variables: Mapping[str, str] | None = None) -> Ended:
    """Run it in a folder, with an environment that says nothing to Sidelight but `variables`."""
    with chdir(cwd), patch.dict(os.environ, environment(variables), clear=True):
        result = CliRunner().invoke(sidelight, [*map(str, arguments)], catch_exceptions=False)
    return Ended(result.exit_code, result.stdout, result.stderr)
