"""The doctor's check of a file destination: the folder can be written."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.executor import run_in_thread
from sidelight.base.writable import nearest, probe
from sidelight.collector.destinations.file.config import FileDestination


async def check(name: str, config: FileDestination) -> Check:
    """Write a small file to the folder or, if it does not exist, to the nearest one above it."""
    directory = config.directory.absolute()
    try:
        await run_in_thread(lambda: probe(nearest(directory)), "sidelight-check")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        advice = "Allow this user to write there, or set directory to another folder."
        return Check(name, "fail", f"{directory} cannot be written: {reason}", advice)
    return Check(name, "ok", f"{directory} is writable")
