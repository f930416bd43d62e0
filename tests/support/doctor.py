"""Configurations for the doctor to examine, and its findings by name."""

from __future__ import annotations

from typing import Any

from sidelight.base.check import Check
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.doctor.runner import run
from support.ports import free_port
from support.waiting import PATIENCE_SECONDS


def configured(**sections: Any) -> Config:
    """A configuration on free ports, with room for its log, and no destinations."""
    defaults: dict[str, Any] = {
        "receivers": {"otlp_http": {"port": 0}, "otlp_grpc": {"port": 0}},
        "serve": {"port": free_port()},
        "log": {"max_bytes": 2**20, "segment_bytes": 2**16},
        "destinations": [],
    }
    return Config.model_validate(defaults | sections)


def examine(config: Config) -> dict[str, Check]:
    """The checks by name. A busy machine may take long to answer a request."""
    return {check.name: check for check in run(config, timeout_seconds=PATIENCE_SECONDS)}


def everything(checks: dict[str, Check]) -> str:
    """All that the doctor says, to look for what it must not."""
    return repr(checks)
