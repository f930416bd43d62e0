"""Whether the folder of a file destination can be written."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.executor import run_in_thread
from sidelight.base.writable import nearest, probe
from sidelight.collector.destinations.file.config import FileDestination


async def check(name: str, config: FileDestination) -> Check:
    """Write a small file into the folder, or where the folder would be created."""
    directory = config.directory.absolute()
    try:
        await run_in_thread(lambda: probe(nearest(directory)), "sidelight-check")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        advice = "Let this user write there, or set the destination's directory to another."
        return Check(name, "fail", f"{directory} cannot be written: {reason}", advice)
    return Check(name, "ok", f"{directory} is writable")
