"""A running collector is given another configuration file."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.collector import Collector
from support.waiting import eventually


def reload(collector: Collector, directory: Path, config: Mapping[str, Any] | str) -> list[str]:
    """Write it, send SIGHUP, and return what the collector said of it."""
    before = collector.messages
    text = config if isinstance(config, str) else json.dumps(config)
    (directory / "sidelight.yaml").write_text(text)
    collector.process.send_signal(signal.SIGHUP)

    def said() -> list[str]:
        return [line for line in collector.messages[len(before) :] if line.startswith("reload ")]

    eventually(said)
    # All its lines are written in one go: who is answered after the first has seen them all.
    collector.get("/healthz")
    return said()
