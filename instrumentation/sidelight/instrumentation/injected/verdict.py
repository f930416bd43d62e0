"""What `python3 -m sidelight_injected` prints in vLLM's container, once the loader has no doubt."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sidelight.instrumentation.settings import DISABLED, OTEL_DISABLED, is_disabled
from sidelight.instrumentation.vllm.environment import endpoint
from sidelight.instrumentation.vllm.versions import Versions, version_warning

_GROUP: Final = "vllm.general_plugins"
_NAME: Final = "sidelight"
_LOADER: Final = "sidelight_injected:install"
_PLUGINS: Final = "VLLM_PLUGINS"
_CONNECT_SECONDS: Final = 2.0
_PORTS: Final = {"http": 80, "https": 443}


def show(folder: Path) -> int:
    """Print what vLLM would do with the folder. Returns 0 if it would load Sidelight, else 1."""
    versions = Versions.installed()
    points = [point for point in entry_points(group=_GROUP) if point.name == _NAME]
    obstacles = list(obstacles_to(points, os.environ))
    verdict = "not loaded" if obstacles else "loaded"
    print(  # noqa: T201
        f"Sidelight {versions.sidelight} in {folder}: {verdict} by vLLM {versions.vllm or '?'}, "
        f"Python {platform.python_version()}",
        *obstacles,
        *notes(versions, endpoint(os.environ)),
        sep="\n",
    )
    return 1 if obstacles else 0


def obstacles_to(points: Iterable[EntryPoint], environ: Mapping[str, str]) -> Iterable[str]:
    """Why vLLM does not load a folder that is in order; `points` are the entry points it finds."""
    if [point.value for point in points] != [_LOADER]:
        yield (
            "vLLM finds another Sidelight first. Remove its folder from PYTHONPATH, or put it "
            "behind this one."
        )
    plugins = environ.get(_PLUGINS)
    if plugins is not None and _NAME not in plugins.split(","):
        yield f"{_PLUGINS}={plugins} leaves it out. Add {_NAME} to it."
    if is_disabled(environ):
        yield f"It is switched off. Unset {DISABLED} and {OTEL_DISABLED}."


def notes(versions: Versions, address: str) -> Iterable[str]:
    """What else decides whether telemetry arrives."""
    if versions.vllm is None:
        yield "This Python has no vLLM. Run this with the Python that runs vLLM."
    elif warning := version_warning(versions.vllm):
        yield warning
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        yield "The address it sends to is not a URL of HTTP. Correct OTEL_EXPORTER_OTLP_ENDPOINT."
    else:
        # Not the whole URL, which may hold a password.
        yield f"It sends to {parts.hostname}:{port}: {reached(parts.hostname, port)}"


def reached(host: str | None, port: int) -> str:
    """Whether something listens at an address, and what to do if not."""
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return (
            f"cannot connect ({reason}). Check that the container sidelight runs in this pod, or "
            "correct OTEL_EXPORTER_OTLP_ENDPOINT."
        )
    return "something listens there."
