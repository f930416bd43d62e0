"""Processes that die with the test that started them, even if that is killed itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

# Of util-linux. Elsewhere a killed run leaves processes behind, and nothing else is different.
_SETPRIV = shutil.which("setpriv")


def bound(command: Sequence[str | Path]) -> list[str | Path]:
    """The command, to be killed when the thread that starts it ends, for whatever reason.

    The process keeps its id: what binds it becomes the command.
    """
    return [_SETPRIV, "--pdeathsig", "KILL", *command] if _SETPRIV else list(command)
