"""The guides of docs/kubernetes/: their files and commands, run in order, and how each was checked.

`make generated` writes the table at the end of each page. A test compares it with what a run of
the page did, so that no page claims a step that was not run.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from sidelight.injection.decision import Reason
from support.guide_commands import (
    CHECKS,
    DEPLOYMENT,
    PROGRAMS,
    VALUES,
    Check,
    read_options,
    validate,
)
from support.paths import DOCS, ROOT, TESTS

GUIDES: Final = DOCS / "kubernetes"
_SHOWN: Final = GUIDES / "how-injection-works.md"
"""The page with the Deployment that all pages speak of."""
_CHECKED: Final = "<!-- checked -->\n{}<!-- end -->"
_REASONS: Final = "<!-- reasons -->\n{}<!-- end -->"
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME: Final = re.compile(r"# ([\w.-]+\.yaml)(?:, (?:[^\n]*, )?(a part))?\n")
# What a page says as `kubectl …` in its text or in a table.
_INLINE: Final = re.compile(r"`((?:kubectl|helm|sidelight) [^`]+)`")

Checked = Mapping[Check, list[str]]


class GuideError(AssertionError):
    """A step of a page does not work as it says."""


class Block(NamedTuple):
    """A block of code in a page."""

    language: str
    """`yaml`: a file, named in its first line. `text`: what the commands before it print."""
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines of a block of commands."""
        if self.language or self.text.split()[0] not in PROGRAMS:
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line and not line.startswith("#")]


def pages() -> list[Path]:
    """The guides, without what is generated as a whole."""
    mark = _CHECKED.split("{}")[0]
    return [page for page in sorted(GUIDES.glob("*.md")) if mark in page.read_text()]


def blocks(text: str) -> list[Block]:
    """The blocks of code of a page."""
    return [Block(*block) for block in _BLOCK.findall(text)]


def files(text: str) -> dict[str, str]:
    """The YAML blocks of a page by the file name in their first line, without parts of files."""
    named = {}
    for block in blocks(text):
        if block.language == "yaml":
            head = _FILE_NAME.match(block.text)
            if head is None:
                raise GuideError(f"a YAML block without a file name: {block.text[:60]!r}")
            yaml.safe_load(block.text) if head[2] else named.update({head[1]: block.text})
    return named


def inline_commands(text: str) -> list[str]:
    """Commands within sentences and tables, each program of a pipe by itself.

    Their placeholders (POD) are arguments like others.
    """
    parts = (
        part.strip()
        for found in _INLINE.findall(_BLOCK.sub("", text))
        for part in found.split("\\|")
    )
    return [part.replace("…", "x") for part in parts if part.split()[0] in PROGRAMS]


def run(text: str, directory: Path) -> Checked:
    """Run a page in an empty directory.

    Raises `GuideError` with what a command wrote if one fails, or writes something else than the
    page says. Where the page shows what a command prints, it may exit with 1.
    """
    (directory / "charts").symlink_to(ROOT / "charts")
    (directory / "images").symlink_to(ROOT / "images")
    for page, name in ((_SHOWN, DEPLOYMENT), (GUIDES / "index.md", VALUES)):
        (directory / name).write_text(files(page.read_text())[name])
    checked: dict[Check, list[str]] = {}
    for name, content in files(text).items():
        (directory / name).write_text(content)
        documents = [one for one in yaml.safe_load_all(content) if one]
        if all("kind" in one for one in documents):
            validate(documents)
            checked.setdefault(Check.SCHEMA, []).append(name)
    in_order = blocks(text)
    for block, following in itertools.zip_longest(in_order, in_order[1:]):
        shown = following.text if following and following.language == "text" else None
        printed = ""
        for command in block.commands:
            output, steps = _run(command, directory, may_fail=shown is not None)
            printed += output
            for check, step in steps:
                if step not in checked.setdefault(check, []):
                    checked[check].append(step)
        if shown is not None and printed.split() != shown.split():
            raise GuideError(f"{block.text}prints\n{printed}and not\n{shown}")
    for command in inline_commands(text):
        _read_options(command)
    return checked


# Many pages have the same commands in their sentences.
@functools.cache
def _read_options(command: str) -> None:
    """Let the program of a command read its options. Raises `GuideError` if it refuses them."""
    program, *arguments = shlex.split(command)
    done = read_options(program, arguments)
    if done.returncode:
        raise GuideError(f"{command}\n{done.stdout}{done.stderr}")


def _run(
    command: str, directory: Path, *, may_fail: bool = False
) -> tuple[str, list[tuple[Check, str]]]:
    """What a command prints, and how its programs were checked."""
    noted = directory / "checks"
    noted.write_text("")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=directory,
        env={
            **os.environ,
            "PATH": f"{_programs(directory)}:{os.environ['PATH']}",
            CHECKS: str(noted),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not (may_fail and done.returncode == 1):
        raise GuideError(f"{command}\n{done.stdout}{done.stderr}")
    entries = (entry.split("\t") for entry in noted.read_text().splitlines())
    return done.stdout + done.stderr, [(Check[name], step) for name, step in entries]


def _programs(directory: Path) -> Path:
    """A folder with a script for each program of the guides."""
    folder = directory / "programs"
    folder.mkdir(exist_ok=True)
    for program in PROGRAMS:
        script = folder / program
        command = f'exec {sys.executable} -m support.guide_commands "$0" "$@"'
        script.write_text(f"#!/bin/sh\nPYTHONPATH={TESTS} {command}\n")
        script.chmod(0o755)
    return folder


def written(text: str, checked: Checked) -> str:
    """The page with the tables of how its steps were checked, and of injection's reasons."""
    steps = {check: [f"`{step}`" for step in checked.get(check, ())] for check in Check}
    text = _with_table(
        text,
        _CHECKED,
        ("step", "checked"),
        [(", ".join(named), check.value) for check, named in steps.items() if named],
    )
    reasons = [(f"`{reason.value}`", reason.sentence) for reason in Reason]
    return _with_table(text, _REASONS, ("reason", "what it says"), reasons)


def _with_table(text: str, mark: str, head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    table = "\n".join([*lines, ""]) if rows else "The page has neither commands nor files.\n"
    return re.sub(mark.format(".*?"), lambda _: mark.format(table), text, flags=re.DOTALL)


def main() -> None:
    """Write the tables of each page anew."""
    for page in pages():
        with tempfile.TemporaryDirectory() as directory:
            text = page.read_text()
            page.write_text(written(text, run(text, Path(directory))))


if __name__ == "__main__":
    main()
