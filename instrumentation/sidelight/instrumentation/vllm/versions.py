"""Versions: what is installed, and with which of vLLM the hooks were compared."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Final, NamedTuple

OLDEST: Final = (0, 13)
NEWEST: Final = (0, 33)
_MAX_VERSION_CHARACTERS: Final = 40


class Versions(NamedTuple):
    """Versions of vLLM and Sidelight; None if they are not known."""

    vllm: str | None = None
    sidelight: str | None = None

    @classmethod
    def installed(cls) -> Versions:
        """What is installed where this process runs, which the observer process cannot see."""
        return cls(*map(_version_of, cls._fields))


def version_warning(version: str | None) -> str | None:
    """The line for vLLM's log if `version` is not one of them; None if it is."""
    match = re.match(r"(\d{1,5})\.(\d{1,5})", version or "")
    if match and OLDEST <= (int(match[1]), int(match[2])) <= NEWEST:
        return None
    oldest, newest = (".".join(map(str, bound)) for bound in (OLDEST, NEWEST))
    named = f"vLLM {version[:_MAX_VERSION_CHARACTERS]}" if version else "this version of vLLM"
    return (
        f"Sidelight: {named} is not known; the hooks were compared with {oldest} to {newest}. vLLM "
        "is not affected, but some telemetry may be missing. Install the newest Sidelight, and a "
        "version of vLLM that it knows."
    )


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
