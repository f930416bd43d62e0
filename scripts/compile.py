"""Compiles the modules that each span passes through, with mypyc: the same sources, as C.

Also `otlp/native/`, which is written in C and does what Python and protobuf do without it.

Usage: python scripts/compile.py

SIDELIGHT_COMPILE_LEVEL says how far the C compiler optimises, 0 to 3; 3 if it is not set. With 0
compiling takes less than half as long, and the modules do the same.

Prints a folder with the whole package and the compiled modules in it, for PYTHONPATH. It is in the
user's cache, named by a hash of what it is made of, and made once: edited sources are never hidden
by what was compiled of older ones. Exit status 2 and a sentence where mypyc or a C compiler is
missing, 1 where they do not take the sources.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ("instrumentation", "dashboards", "collector")
"""Folders that each hold a part of the package."""
MODULES: Final = (
    "otlp/check.py", "otlp/inheritance.py", "otlp/request.py", "otlp/span.py",
    "collector/metrics/delays.py", "collector/metrics/histogram.py", "collector/metrics/labels.py",
    "collector/metrics/recent.py", "collector/metrics/requests.py",
    "collector/metrics/retrieval/metrics.py", "collector/metrics/retrieval/searches.py",
    "collector/metrics/span_metrics.py", "collector/metrics/usage.py",
    "collector/processors/common/editable_span.py", "collector/processors/common/open_span.py",
    "collector/processors/common/processed.py", "collector/processors/common/search.py",
    "collector/processors/common/start.py",
    "collector/processors/limits/ids.py", "collector/processors/limits/processor.py",
    "collector/processors/normalise/display.py", "collector/processors/normalise/documents.py",
    "collector/processors/normalise/messages.py", "collector/processors/normalise/parts.py",
    "collector/processors/normalise/payload.py", "collector/processors/normalise/processor.py",
    "collector/processors/normalise/usage.py",
    "collector/processors/pipeline.py", "collector/processors/plan/plans.py",
    "collector/processors/plan/traced_span.py", "collector/processors/plan/tree.py",
    "collector/processors/plan/values.py",
    "collector/processors/repair/suspects.py", "collector/processors/repair/texts.py",
)  # fmt: skip
"""What a profile of processing shows. Tables that are read when a plan is made gain nothing."""
NATIVE: Final = "otlp/native"
"""The folder of the module sidelight.otlp._wire."""
# Of other states of the sources: another working copy may be using its own.
_MAX_KEPT: Final = 4
_MYPY: Final = """\
[mypy]
namespace_packages = True
explicit_package_bases = True
ignore_missing_imports = True
"""
_LEVELS: Final = ("0", "1", "2", "3")
_SETUP: Final = """\
import sys
from pathlib import Path
from mypyc.build import mypycify
from setuptools import Extension, setup
level, native, *modules = sys.argv[1:]
modules = mypycify(["--config-file", "mypy.ini", *modules], opt_level=level, debug_level="0")
# Python's own flags have -Wall, and warnings about what mypyc has written help nobody. gcc takes
# twice as long to look for them as to compile without optimising. Only -Wno-all ends the search.
for module in modules:
    module.extra_compile_args.append("-Wno-all")
files = sorted(str(path) for path in Path(native).glob("*.c"))
options = ["-std=c11", f"-O{level}", "-Wall", "-Wextra"]
modules.append(Extension("sidelight.otlp._wire", files, extra_compile_args=options))
setup(name="compiled", packages=[], ext_modules=modules, script_args=["-q", "build_ext", "-i"])
"""


class MissingError(Exception):
    """What is needed to compile is missing or wrong; the message says what to do."""


def compiled() -> Path:
    """The folder in the user's cache, made unless it is there.

    Raises `MissingError`, and `CalledProcessError` if the sources cannot be compiled.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sidelight"
    folder = cache / f"compiled-{_digest()}"
    if folder.is_dir():
        # Those that were not asked for longest are deleted.
        folder.touch()
    else:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=cache))
        except OSError as error:
            raise MissingError(
                f"{cache} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder "
                "that can"
            ) from error
        try:
            _compile(made)
            # Fails if another process was faster.
            with contextlib.suppress(OSError):
                made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        known = sorted(cache.glob("compiled-*"), key=_last_use)
        for older in known[:-_MAX_KEPT]:
            shutil.rmtree(older, ignore_errors=True)
    return folder


def _last_use(folder: Path) -> float:
    """When it was asked for last; another process may just have deleted it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _compile(folder: Path) -> None:
    """Copy the package into a folder and compile it there."""
    if importlib.util.find_spec("mypyc") is None:
        raise MissingError("mypyc is missing; pip install mypy setuptools")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise MissingError(f"{compiler} is missing; install a C compiler")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise MissingError(f"{header} is missing; install the header files of Python")
    for part in SOURCES:
        shutil.copytree(
            ROOT / part / "sidelight",
            folder / "sidelight",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.so"),
        )
    has_pydantic = importlib.util.find_spec("pydantic") is not None
    (folder / "mypy.ini").write_text(_MYPY + "plugins = pydantic.mypy\n" * has_pydantic)
    modules = [f"sidelight/{module}" for module in MODULES]
    # What it prints must not be taken for the name of the folder.
    subprocess.run(
        [sys.executable, "-c", _SETUP, _level(), f"sidelight/{NATIVE}", *modules],
        cwd=folder,
        stdout=sys.stderr,
        check=True,
    )
    shutil.rmtree(folder / "build", ignore_errors=True)


def _digest() -> str:
    """Of all sources, of this file, and of what compiles them."""
    machine = f"{sys.version} {sysconfig.get_platform()} {_level()}"
    digest = hashlib.sha256(machine.encode())
    for package in ("mypy", "setuptools"):
        try:
            digest.update(importlib.metadata.version(package).encode())
        except importlib.metadata.PackageNotFoundError:
            continue
    for path in (Path(__file__), *_files()):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _level() -> str:
    level = os.environ.get("SIDELIGHT_COMPILE_LEVEL", _LEVELS[-1])
    if level not in _LEVELS:
        raise MissingError(
            f"SIDELIGHT_COMPILE_LEVEL={level!r} is not allowed; set it to one of "
            f"{', '.join(_LEVELS)}"
        )
    return level


def _files() -> Iterator[Path]:
    for part in SOURCES:
        yield from sorted((ROOT / part / "sidelight").rglob("*.py"))
    yield from sorted((ROOT / "collector" / "sidelight" / NATIVE).glob("*.[ch]"))


def main() -> int:
    """Compile, and print where it is."""
    try:
        sys.stdout.write(f"{compiled()}\n")
    except MissingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except subprocess.CalledProcessError:
        sys.stderr.write("the sources cannot be compiled; the lines above say where\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
