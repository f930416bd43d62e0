"""The configuration of the durable log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from sidelight.base.configuration.section import MIB, Section


class LogOptions(Section):
    """The durable log on disk."""

    # Relative: without a configuration nothing is written outside the folder of the start.
    directory: Path = Field(
        Path("sidelight-data"), description="Folder of the log; created if it is missing."
    )
    segment_bytes: int = Field(
        64 * MIB, ge=64 * 1024, description="Size above which a new segment starts."
    )
    max_bytes: int = Field(
        10 * 1024 * MIB,
        ge=MIB,
        description="Size of the log above which the oldest segment is deleted, delivered or not. "
        "Undelivered items are counted and logged.",
    )
    max_age_seconds: float = Field(
        7 * 86400,
        gt=0,
        description="Age above which a segment is deleted, delivered or not. Undelivered items "
        "are counted and logged.",
    )
    keep_seconds: float = Field(
        3600,
        ge=0,
        description="How long delivered data is kept for `sidelight log replay`.",
    )
    keep_bytes: int = Field(
        256 * MIB, ge=0, description="Most delivered data that is kept for `sidelight log replay`."
    )
    # SDKs try again for about a minute; a longer window would only take memory.
    dedupe_seconds: float = Field(
        60,
        ge=0,
        description="A request repeated within this time is stored once. 0: every request is "
        "stored.",
    )
    compression: Literal["gzip", "none"] = Field(
        "gzip",
        description="Compression of stored batches, which are sent as stored. gzip costs CPU and "
        "saves three quarters of disk and network.",
    )
    max_pending_bytes: int = Field(
        64 * MIB,
        ge=MIB,
        description="Bytes that may wait for the disk. Above it senders get 429.",
    )
