"""One finding of the doctor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sidelight.base.executor import run_in_thread

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it stands, what was found and, unless all is well, what to do.

    Neither text ever holds a secret.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def on_thread(check: Callable[[], Check]) -> Callable[[], Awaitable[Check]]:
    """A check that blocks (on a disk, on a lookup), made beside the event loop."""
    return partial(run_in_thread, check, "sidelight-check")


def exit_code(checks: Iterable[Check]) -> int:
    """1 if any check failed, else 0: a warning stops nothing."""
    return int(any(check.status == "fail" for check in checks))
