"""An alert on its whole way: a real Prometheus, a real Alertmanager, a webhook."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidelight.demo.processes import Processes
from support.exposition_server import serve_pages
from support.paths import ROOT
from support.ports import free_port
from support.prometheus import run_prometheus
from support.waiting import eventually

RULES = ROOT / "dashboards" / "generated" / "sidelight-rules.yaml"
ALERT = "SidelightDestinationFailing"

pytestmark = [pytest.mark.real("prometheus", "alertmanager"), pytest.mark.slow]


class _Collector:
    """The metrics of a collector whose destination is down until it is `healed`."""

    def __init__(self) -> None:
        self.healed = False
        self._retries = itertools.count(1)
        self._delivered = itertools.count(1)
        self._last = (0, 0)

    def page(self, _accept: str) -> tuple[str, bytes]:
        retries, delivered = self._last
        if self.healed:
            delivered = next(self._delivered)
        else:
            retries = next(self._retries)
        self._last = (retries, delivered)
        text = (
            'sidelight_collector_received_total{signal="traces"} 100\n'
            f'sidelight_collector_retries_total{{destination="phoenix"}} {retries}\n'
            f'sidelight_collector_delivered_total{{destination="phoenix"}} {delivered}\n'
        )
        return "text/plain; version=0.0.4", text.encode()


@contextmanager
def _webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and the alerts that were posted to it."""
    alerts: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            alerts.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", alerts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _alertmanager(directory: Path, webhook: str) -> Iterator[str]:
    """A real Alertmanager's address; it routes by the label `severity`, as docs/alerts.md says."""
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        raise RuntimeError("Alertmanager is not installed: apt-get install prometheus-alertmanager")
    config = directory / "alertmanager.yml"
    waits = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
    config.write_text(
        yaml.safe_dump(
            {
                "route": {
                    "receiver": "nobody",
                    "routes": [{"receiver": "queue", "matchers": ["severity=ticket"], **waits}],
                },
                "receivers": [
                    {"name": "nobody"},
                    {"name": "queue", "webhook_configs": [{"url": webhook, "send_resolved": True}]},
                ],
            }
        )
    )
    address = f"127.0.0.1:{free_port()}"
    with Processes(directory) as processes:
        process = processes.start(
            "alertmanager",
            [
                program,
                f"--config.file={config}",
                f"--storage.path={directory / 'alertmanager'}",
                f"--web.listen-address={address}",
                # No peers: it would bind a port on every interface for them.
                "--cluster.listen-address=",
            ],
        )
        process.wait_for_http(f"http://{address}/-/ready", 120)
        yield address


def _hastened(directory: Path) -> Path:
    """The generated rules, of which one holds for a second instead of five minutes."""
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == ALERT:
                rule["for"] = "1s"
    file = directory / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    return file


def test_an_alert_reaches_the_webhook_and_is_resolved(tmp_path: Path) -> None:
    """With its severity, its numbers and its links; once the destination is well, as resolved."""
    collector = _Collector()
    with (
        serve_pages({"/metrics": collector.page}) as target,
        _webhook() as (webhook, alerts),
        _alertmanager(tmp_path, webhook) as alertmanager,
        run_prometheus(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(_hastened(tmp_path))],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
                "scrape_configs": [
                    {"job_name": "sidelight", "static_configs": [{"targets": [target]}]}
                ],
            },
            tmp_path / "prometheus",
        ),
    ):

        def told(status: str) -> dict[str, Any] | None:
            matching = (
                alert
                for alert in list(alerts)
                if alert["labels"]["alertname"] == ALERT and alert["status"] == status
            )
            return next(matching, None)

        firing = eventually(lambda: told("firing"), f"{ALERT} at the webhook")
        collector.healed = True
        eventually(lambda: told("resolved"), f"the end of {ALERT} at the webhook")
    assert firing["labels"]["severity"] == "ticket"
    assert firing["labels"]["destination"] == "phoenix"
    summary = firing["annotations"]["summary"]
    assert target in summary
    assert "to phoenix" in summary
    assert "sidelight doctor" in firing["annotations"]["description"]
    assert firing["annotations"]["runbook_url"].endswith("docs/runbooks/destination-failing.md")
    assert f"var-collector={target.replace(':', '%3A')}" in firing["annotations"]["dashboard_url"]
