"""The configuration of the durable log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from sidelight.base.configuration.section import MIB, Section


class LogOptions(Section):
    """The durable log on disk."""

    directory: Path = Field(Path("sidelight-data"), description="Folder; it is made if missing.")
    segment_bytes: int = Field(
        64 * MIB, ge=64 * 1024, description="A segment above it is followed by another."
    )
    max_bytes: int = Field(
        10 * 1024 * MIB,
        ge=MIB,
        description="Size cap: above it the oldest segment goes, counted and logged.",
    )
    max_age_seconds: float = Field(
        7 * 86400, gt=0, description="Age above which a segment goes, counted and logged."
    )
    keep_seconds: float = Field(
        3600,
        ge=0,
        description="What every destination has got stays so long, for `sidelight log replay`.",
    )
    keep_bytes: int = Field(
        256 * MIB, ge=0, description="Most that is kept for `sidelight log replay`."
    )
    dedupe_seconds: float = Field(
        60,
        ge=0,
        description="A request that is sent again within this time is stored once; 0: never.",
    )
    compression: Literal["gzip", "none"] = Field(
        "gzip",
        description="How batches are stored, and sent on as they are: gzip costs CPU and saves "
        "three quarters of disk and network.",
    )
    max_pending_bytes: int = Field(
        64 * MIB, ge=MIB, description="Bytes waiting for the disk above which senders get 429."
    )
