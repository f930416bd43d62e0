"""Writes the folder that is injected: `python -m sidelight.instrumentation.injected.tree FOLDER`.

A server finds the instrumentation by its entry point, which needs no more than the package's files
and metadata in a folder on `PYTHONPATH`. What lies there precedes all that the server's environment
has installed. So it holds nothing but Sidelight:

    sidelight_injected.py             the loader
    sidelight/conventions/ …          no file is compiled: one copy fits every Python and C library
    sidelight-VERSION.dist-info/      METADATA, entry_points.txt, RECORD
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Final

from sidelight.instrumentation.injected import loader

MODULE: Final = "sidelight_injected"
"""The name that the loader has in the folder."""

# One, and not those of the database clients: the process of vLLM is to change by nothing else.
_ENTRY_POINTS: Final = f"[vllm.general_plugins]\nsidelight = {MODULE}:install\n"
_IGNORED: Final = ("__pycache__", "*.so", "*.pyd")


def write(directory: Path) -> Path:
    """Write the folder to `directory`, which is emptied first, and return it.

    Raises `RuntimeError` if Sidelight is not installed, and `SyntaxError` for a file that this
    Python cannot read.
    """
    try:
        distribution = importlib.metadata.distribution("sidelight")
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError(
            "the package 'sidelight' is importable but not installed; "
            "run `pip install -e .` in its folder"
        ) from None
    shutil.rmtree(directory, ignore_errors=True)
    # The whole instrumentation: it shadows that of an installed Sidelight, which an app may use.
    for package in loader.PACKAGES:
        shutil.copytree(
            _source(package),
            directory.joinpath(*package.split(".")),
            ignore=shutil.ignore_patterns(*_IGNORED),
        )
    shutil.copyfile(loader.__file__, directory / f"{MODULE}.py")
    metadata = directory / f"sidelight-{distribution.version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(distribution.read_text("METADATA") or "")
    (metadata / "entry_points.txt").write_text(_ENTRY_POINTS)
    for path in directory.rglob("*.py"):
        compile(path.read_bytes(), path, "exec", dont_inherit=True)
    write_record(directory)
    _open_to_all(directory)
    return directory


def write_record(directory: Path) -> None:
    """Write the list of files with which the loader compares the folder."""
    record = loader.metadata_folder(directory) / "RECORD"
    lines = []
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path != record and "__pycache__" not in path.parts:
            content = path.read_bytes()
            name = path.relative_to(directory).as_posix()
            lines.append(f"{name},{loader.digest_of(content)},{len(content)}")
    # By the specification itself without a digest. The loader takes it for the end of the list.
    lines.append(f"{record.relative_to(directory).as_posix()},,")
    record.write_text("\n".join(lines) + "\n")


def _source(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"cannot find the source of {package}")
    return Path(spec.origin).parent


def _open_to_all(directory: Path) -> None:
    # The umask of a build may let only its own user read, and containers run as another.
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
