"""The versions of vLLM that the hooks were compared with."""

from __future__ import annotations

import re
from typing import Final

OLDEST: Final = (0, 13)
NEWEST: Final = (0, 33)
_MAX_VERSION_CHARACTERS: Final = 40


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
