"""Loads Sidelight's plugin into vLLM from the folder of this file, or says in one line why not.

In an injected folder this file is `sidelight_injected.py`, which the entry point of vLLM's general
plugins names. The folder is on `PYTHONPATH`, before all that the image has installed. So it is
loaded whole or not at all: a folder that is not as it was built, or a Python that is too old,
leaves vLLM as it was. `python3 -m sidelight_injected` tells the verdict of this Python.

Also read by a Python that is too old: the syntax is that of Python 3.8.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import logging
import sys
from pathlib import Path
from typing import Final

OLDEST_PYTHON: Final = (3, 11)
PACKAGES: Final = ("sidelight.conventions", "sidelight.instrumentation")
MAX_REASON_CHARACTERS: Final = 300
_FOLDER: Final = Path(__file__).absolute().parent
_COPY_AGAIN: Final = (
    "Start the pod again. If the line comes again, replace the image of the instrumentation."
)
_LET_READ: Final = "Let the user of this container read the whole folder."
# Below vLLM's logger: a package that the API server imports silences the root logger.
_logger: Final = logging.getLogger("vllm.sidelight")
_said = False


class NotLoadedError(Exception):
    """The plugin must not be loaded. `advice` says what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.advice = advice


def install() -> None:
    """Install vLLM's hooks. Raises nothing, and may be called again.

    vLLM calls it in each of its processes. If there is any doubt, it logs one line instead.
    """
    global _said
    try:
        check()
        from sidelight.instrumentation.vllm.plugin import install as install_plugin

        install_plugin()
    except (KeyboardInterrupt, SystemExit):
        # A signal of the process, which may come at any time.
        raise
    except BaseException as error:  # noqa: BLE001 - it would keep vLLM from starting
        if not _said:
            _said = True
            _logger.warning("%s", line(doubt_of(error)))


def check() -> None:
    """Check this Python and the folder. Raises `NotLoadedError`, and others for a broken list."""
    check_python()
    check_files(_FOLDER)
    check_origin(_FOLDER)


def doubt_of(error: BaseException) -> NotLoadedError:
    """An error as a reason not to load the plugin."""
    if isinstance(error, NotLoadedError):
        return error
    return NotLoadedError(f"{type(error).__name__}: {error}", _COPY_AGAIN)


def line(doubt: NotLoadedError) -> str:
    """The line for vLLM's log: one, whatever the error's text is."""
    reason = " ".join(str(doubt).split())[:MAX_REASON_CHARACTERS]
    return (
        f"Sidelight: not loaded ({reason}). vLLM is not affected; there is no telemetry of this "
        f"process. {doubt.advice}"
    )


def check_python() -> None:
    """Raises `NotLoadedError` if this Python is too old."""
    version = tuple(sys.version_info[:2])
    if version < OLDEST_PYTHON:
        oldest, own = (".".join(map(str, numbers)) for numbers in (OLDEST_PYTHON, version))
        raise NotLoadedError(
            f"Python {own} is older than {oldest}", f"Use an image of vLLM with Python {oldest}."
        )


def check_files(folder: Path) -> None:
    """Compare each file of the folder with the list that was made when it was built.

    Raises `NotLoadedError` for what is missing, unreadable or different.
    """
    record = metadata_folder(folder) / "RECORD"
    lines = _read(record).decode("utf-8", "replace").splitlines()
    # Its own entry is the last, and has neither digest nor size.
    if not lines or not lines[-1].endswith("/RECORD,,"):
        raise NotLoadedError(f"{record} is cut short", _COPY_AGAIN)
    for entry in lines[:-1]:
        name, digest, _ = entry.rsplit(",", 2)
        path = folder / name
        if digest_of(_read(path)) != digest:
            raise NotLoadedError(f"{path} is not as it was built", _COPY_AGAIN)


def metadata_folder(folder: Path) -> Path:
    """The one `sidelight-VERSION.dist-info` in `folder`. Raises `NotLoadedError` if not one."""
    found = sorted(folder.glob("sidelight-*.dist-info"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise NotLoadedError(f"{folder} must have one version and has: {names}", _COPY_AGAIN)
    return found[0]


def check_origin(folder: Path) -> None:
    """Raises `NotLoadedError` if another folder's `sidelight` would be imported."""
    # Of a package with an `__init__.py`, the code would run before its subpackages are looked for.
    namespace = importlib.util.find_spec("sidelight")
    origins: list[str | None] = [namespace.origin] if namespace and namespace.origin else []
    if not origins:
        specs = map(importlib.util.find_spec, PACKAGES)
        origins = [spec.origin if spec else None for spec in specs]
    for origin in origins:
        if origin is None or folder / "sidelight" not in Path(origin).parents:
            raise NotLoadedError(
                f"sidelight would be imported from {origin}",
                f"Remove that folder from PYTHONPATH, or put it behind {folder}.",
            )


def digest_of(content: bytes) -> str:
    """The digest of a file as metadata of Python packages have it.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        advice = _LET_READ if isinstance(error, PermissionError) else _COPY_AGAIN
        raise NotLoadedError(f"{path}: {error.strerror}", advice) from error


def main() -> int:
    """Print the verdict of this Python and what else decides. Returns 0 if vLLM loads Sidelight."""
    try:
        check()
        from sidelight.instrumentation.injected import verdict
    except Exception as error:  # noqa: BLE001 - the reason is the answer
        print(line(doubt_of(error)))  # noqa: T201
        return 1
    return verdict.show(_FOLDER)


if __name__ == "__main__":
    sys.exit(main())
