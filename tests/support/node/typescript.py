"""What TypeScript's compiler says about documents that are written as values of a type."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from support.node.packages import NodeError

_COMPILER = (
    "node_modules/.bin/tsc", "--strict", "--noEmit", "--skipLibCheck",
    "--moduleResolution", "bundler", "--module", "esnext", "--target", "es2022",
)  # fmt: skip
# A line that continues a complaint is indented.
_COMPLAINT = re.compile(r"(\S+)\(\d+,\d+\): error")


def complaints(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """The compiler's complaints by file, without the files that are right.

    One call for many files: whatever it compiles, it reads the types for more than a second.
    Raises `NodeError` with what is about no file.
    """
    done = subprocess.run(
        [*_COMPILER, *files], cwd=folder, capture_output=True, text=True, check=False
    )
    by_file: dict[str, str] = {}
    file = ""
    for line in done.stdout.splitlines(keepends=True):
        if match := _COMPLAINT.match(line):
            file = match[1]
        elif not line.startswith(" "):
            file = ""
        by_file[file] = by_file.get(file, "") + line
    if "" in by_file or bool(done.returncode) != bool(by_file):
        raise NodeError(done.stdout + done.stderr)
    return by_file
