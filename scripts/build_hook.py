"""Puts compiled modules into a wheel that is built with SIDELIGHT_COMPILE=1 set.

Without the variable a wheel is pure Python, and fits every machine. An editable installation is
never compiled, so that no edited source is hidden.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileHook(BuildHookInterface[Any]):
    """Hatchling's hook; see `scripts/compile.py`."""

    def dependencies(self) -> list[str]:
        """What pip must install to build such a wheel."""
        return ["mypy>=1.15", "setuptools>=75"] if self._is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; the build fails where that is not possible."""
        if version == "editable" or not self._is_wanted():
            return
        command = [sys.executable, str(Path(self.root) / "scripts" / "compile.py")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        folder = Path(done.stdout.strip())
        for module in folder.rglob("*.so"):
            build_data["force_include"][str(module)] = str(module.relative_to(folder))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    @staticmethod
    def _is_wanted() -> bool:
        return os.environ.get("SIDELIGHT_COMPILE") == "1"
