"""The number of workers, which `auto` takes from the cores."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

_MAX_WORKERS = 64
# cgroup v2: quota and period in microseconds. Containers see all cores of the machine otherwise.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Cores that this process may use, by its CPU affinity and its cgroup."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return allowed
    # Rounded up: 1.5 cores are busy with two workers, not with one.
    return allowed if quota == "max" else min(allowed, math.ceil(int(quota) / int(period)))


def _count(value: Any) -> Any:
    return min(cores(), _MAX_WORKERS) if value == "auto" else value


_Count = Annotated[int, Field(ge=1, le=_MAX_WORKERS)]
Workers = Annotated[
    _Count, BeforeValidator(_count, json_schema_input_type=_Count | Literal["auto"])
]
