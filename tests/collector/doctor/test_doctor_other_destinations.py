"""What the doctor finds out about OTLP/gRPC, remote write, files and routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidelight.base.check import Check
from support.backend import Backend, Reply
from support.doctor import configured, examine
from support.langfuse import LangfuseStandIn
from support.otlp_grpc_server import OtlpGrpcServer
from support.ports import free_port


def look(destination: dict[str, Any]) -> Check:
    """The one check that is about the destination."""
    checks = examine(configured(destinations=[destination]))
    (found,) = [check for name, check in checks.items() if name.startswith(destination["type"])]
    return found


def test_otlp_grpc() -> None:
    """An endpoint that takes an empty export is well; one that is not there is told."""
    with OtlpGrpcServer() as server:
        check = look({"type": "otlp_grpc", "name": "g", "url": server.url, "signals": ["traces"]})
    assert check.status == "ok"
    assert "accepts traces over gRPC" in check.found
    gone = look({"type": "otlp_grpc", "name": "g", "url": f"http://127.0.0.1:{free_port()}"})
    assert gone.status == "fail"
    assert "host and port" in gone.advice


@pytest.mark.parametrize(("status", "expected"), [(204, "ok"), (404, "fail")])
def test_remote_write(status: int, expected: str) -> None:
    """The advice names the path and the option that Prometheus needs."""
    with Backend(lambda _: Reply(status)) as backend:
        url = f"{backend.url}/api/v1/write"
        check = look({"type": "prometheus_remote_write", "url": url})
    assert check.status == expected
    assert ("--web.enable-remote-write-receiver" in check.advice) is (expected == "fail")


def test_file(tmp_path: Path) -> None:
    """A folder is written to and left as it was; one below a file is told."""
    assert look({"type": "file", "directory": str(tmp_path / "new")}).status == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "taken").write_text("")
    check = look({"type": "file", "directory": str(tmp_path / "taken" / "folder")})
    assert check.status == "fail"
    assert "not a directory" in check.found


def test_each_route_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's wrong keys are found beside the others' good ones; scores are no place."""
    with LangfuseStandIn() as server:
        monkeypatch.setenv("GOOD_PUBLIC", server.public_key)
        monkeypatch.setenv("GOOD_SECRET", server.secret_key)
        monkeypatch.setenv("BAD", "wrong")
        good = {"public_key": {"env": "GOOD_PUBLIC"}, "secret_key": {"env": "GOOD_SECRET"}}
        bad = {"public_key": {"env": "BAD"}, "secret_key": {"env": "BAD"}}
        route = {"name": "blue", "match": {"team": "blue"}, **bad}
        destination = {
            "type": "langfuse",
            "url": server.url,
            "routes": [route],
            "scores": ["a"],
            **good,
        }
        checks = examine(configured(destinations=[destination]))
    found = {name: check.status for name, check in checks.items() if "langfuse" in name}
    assert found == {"langfuse": "ok", "langfuse langfuse.blue": "fail"}
