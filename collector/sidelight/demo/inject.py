"""Adds Sidelight's instrumentation to a server without installing it in its environment.

A server finds the instrumentation by entry points. These only need the package's files and metadata
in a folder on PYTHONPATH. The environment itself does not change, and the server uses the same code
that runs here, installed or in development.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

_METADATA = ("METADATA", "entry_points.txt")


def write(directory: Path) -> Path:
    """Copy the instrumentation and its entry points to `directory`, and return it.

    The folder is emptied first. Raises `RuntimeError` if Sidelight is not installed: without
    its metadata, servers do not find the entry points.
    """
    try:
        distribution = importlib.metadata.distribution("sidelight")
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError(
            "the package 'sidelight' is importable but not installed; "
            "run `pip install -e .` in its folder"
        ) from None
    shutil.rmtree(directory, ignore_errors=True)
    metadata = directory / f"sidelight-{distribution.version}.dist-info"
    metadata.mkdir(parents=True)
    for name in _METADATA:
        (metadata / name).write_text(distribution.read_text(name) or "")
    package = directory / "sidelight"
    package.mkdir()
    # Nothing of the collector: it needs packages that the server's environment does not have.
    for name in ("conventions", "instrumentation"):
        shutil.copytree(
            _source(f"sidelight.{name}"),
            package / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return directory


def _source(module: str) -> Path:
    """The folder of an importable package."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"cannot find the source of {module}")
    return Path(spec.origin).parent
