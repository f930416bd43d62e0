"""One finding of the doctor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sidelight.base.executor import run_in_thread

# A warning is something that works and is probably not meant.
Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, its status, what was found and, unless all is well, what to do.

    No text holds a secret: the report is printed and pasted into issues.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def on_thread(check: Callable[[], Check]) -> Callable[[], Awaitable[Check]]:
    """A check that blocks (on a disk, on a lookup), run on a thread of its own."""
    return partial(run_in_thread, check, "sidelight-check")


def exit_code(checks: Iterable[Check]) -> int:
    """1 if any check failed, else 0. Warnings do not fail a deployment that runs the doctor."""
    return int(any(check.status == "fail" for check in checks))
