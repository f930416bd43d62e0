"""What a collector imports that is configured for little: each module costs memory and a start."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.collector import Collector, settings

# Each with what it is for.
UNUSED = {
    "cramjam": "remote write",
    "cryptography": "the webhook",
    "grafana_foundation_sdk": "dashboards",
    "grpc": "a client of the gRPC port",
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


def _imported(directory: Path) -> set[str]:
    """The modules and packages that are imported when the collector listens."""
    # Python then writes a line for each module.
    variables = {"PYTHONPROFILEIMPORTTIME": "1"}
    with Collector(settings(directory), directory, env=variables) as collector:
        names = re.findall(r"^import time:.*\| +([\w.]+)$", collector.output, re.MULTILINE)
    assert "sidelight.collector.app.lifecycle" in names
    return {
        ".".join(name.split(".")[: end + 1]) for name in names for end in range(name.count(".") + 1)
    }


def test_only_what_is_configured(tmp_path: Path) -> None:
    """With OTLP over HTTP and gRPC, no destination, and no client yet."""
    assert _imported(tmp_path) & UNUSED.keys() == set()


def test_a_supervisor_knows_no_data() -> None:
    """It stays in memory beside its workers, which have all of this."""
    code = "import sys, sidelight.collector.app.workers.supervisor; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "asyncio" in imported
    assert not {"google.protobuf", "grpc", "opentelemetry", "pydantic", "yaml"} & set(imported)
