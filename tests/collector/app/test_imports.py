"""What a collector imports that is configured for little: each module costs memory and a start."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.collector import Collector, settings

# Each with what it is for.
UNUSED = {
    "cramjam": "remote write",
    "cryptography": "the webhook",
    "grafana_foundation_sdk": "dashboards",
    "http.client": "the doctor",
    "msgspec": "OTLP in JSON, messages of foreign spans, KV events",
    "multiprocessing": "nothing",
    "re2": "patterns of a redaction",
    "rich": "reports for people",
    "sidelight.collector.app.workers.supervisor": "several workers",
    "sidelight.collector.doctor.runner": "the doctor",
    "sidelight.collector.processors.normalise.schema": "messages of foreign spans",
    "sidelight.dashboards": "dashboards",
    "sidelight.demo": "the demo",
    "sidelight.injection.webhook.service": "the webhook",
    "urllib.request": "the doctor",
    "zmq": "KV events",
}


def _imported(directory: Path, *, grpc: bool) -> set[str]:
    """The modules and packages that are imported when the collector listens."""
    receivers = {"otlp_http": {"port": 0}, "otlp_grpc": {"port": 0, "enabled": grpc}}
    config = settings(directory, receivers=receivers)
    # Python then writes a line for each module.
    variables = {"PYTHONPROFILEIMPORTTIME": "1"}
    with Collector(config, directory, env=variables) as collector:
        names = re.findall(r"^import time:.*\| +([\w.]+)$", collector.output, re.MULTILINE)
    assert "sidelight.collector.app.lifecycle" in names
    return {
        ".".join(name.split(".")[: end + 1]) for name in names for end in range(name.count(".") + 1)
    }


@pytest.mark.parametrize("grpc", [False, True])
def test_only_what_is_configured(tmp_path: Path, grpc: bool) -> None:
    """gRPC takes 12 MB, so it is there only for its port."""
    imported = _imported(tmp_path, grpc=grpc)
    assert ("grpc" in imported) is grpc
    assert imported & UNUSED.keys() == set()


def test_a_supervisor_knows_no_data() -> None:
    """It stays in memory beside its workers, which have all of this."""
    code = "import sys, sidelight.collector.app.workers.supervisor; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "asyncio" in imported
    assert not {"google.protobuf", "grpc", "opentelemetry", "pydantic", "yaml"} & set(imported)
