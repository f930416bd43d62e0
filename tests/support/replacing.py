"""Replaces files in one step, as what watches them may look at any moment."""

from __future__ import annotations

from pathlib import Path


def replace_text(file: Path, text: str) -> None:
    """Let a file hold this text. Nobody finds it empty, or half of it."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)
