"""How workers start: what they share, and what is said when they cannot."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.collector import Collector, run_to_end, settings
from support.ports import free_port
from support.span_load import new_ids, request_of
from support.waiting import eventually

pytestmark = pytest.mark.slow


class TestStarting:
    def test_without_standard_input(self, tmp_path: Path) -> None:
        """A parent may have closed it; the plan comes to the supervisor all the same."""
        closed = ("sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "sidelight.collector")
        with Collector(settings(tmp_path, workers=2), tmp_path, command=closed) as collector:
            assert collector.terminate() == 0

    @pytest.mark.parametrize("section", ["otlp_http", "otlp_grpc"])
    def test_a_taken_port(self, tmp_path: Path, section: str) -> None:
        """Shared ports are shared with any process of the user: one that is taken is refused.

        Also if the configuration is longer than a pipe to the supervisor would hold.
        """
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            drop = [{"names": "health" * 100}] * 200
            store = {"type": "otlp_http", "name": "a", "url": "http://127.0.0.1:1", "drop": drop}
            config = settings(tmp_path, workers=2, destinations=[store])
            config["receivers"][section]["port"] = port
            code, messages = run_to_end(config, tmp_path)
        assert code == 1
        assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in messages[-1]
        assert f"set receivers.{section}.port" in messages[-1]

    def test_the_port_of_metrics_is_taken(self, tmp_path: Path) -> None:
        """Exit 1, and no worker is left."""
        with socket.create_server(("127.0.0.1", 0)) as holder:
            config = settings(tmp_path, workers=2)
            config["serve"]["port"] = holder.getsockname()[1]
            code, messages = run_to_end(config, tmp_path)
        assert code == 1
        assert any("set serve.port" in line for line in messages)

    def test_a_fault_found_when_parts_are_built(self, tmp_path: Path) -> None:
        """Exit 2, as with one worker."""
        config = settings(tmp_path, workers=2, processors={"prices": "no.yaml"})
        code, messages = run_to_end(config, tmp_path)
        assert code == 2
        assert any("no.yaml" in line for line in messages)

    def test_a_token_that_cannot_be_read(self, tmp_path: Path) -> None:
        """Of the supervisor's own port: exit 2 and one sentence."""
        config = settings(tmp_path, workers=2)
        config["serve"]["tokens"] = [{"file": str(tmp_path / "no")}]
        code, messages = run_to_end(config, tmp_path)
        assert code == 2
        assert "secret file" in messages[-1]
        assert "No such file" in messages[-1]
        assert not any("Traceback" in line for line in messages)

    def test_sampling_needs_one_worker(self, tmp_path: Path) -> None:
        """The kernel spreads a trace's connections over workers, none of which sees it whole."""
        store = {"type": "phoenix", "sample": {"share": 0.1}}
        config = settings(tmp_path, workers=2, destinations=[store])
        code, messages = run_to_end(config, tmp_path)
        assert code == 2
        assert "'phoenix' has sample" in messages[0]
        assert "set workers to 1, or remove sample" in messages[0]

    def test_configured_ports(self, tmp_path: Path) -> None:
        """As they are in the file."""
        config = settings(tmp_path, workers=2)
        config["receivers"]["otlp_http"]["port"] = port = free_port()
        with Collector(config, tmp_path) as collector:
            assert collector.http_port == port
            assert collector.post(request_of(new_ids(1)))[0] == 200


def test_marks_of_hashed_texts_are_the_same_in_all_workers(tmp_path: Path) -> None:
    """Without a configured key as well: the supervisor makes one for all."""
    seen: set[str] = set()
    folder = tmp_path / "out"
    config = settings(
        tmp_path,
        workers=2,
        processors={"content": {"default": "hashed"}},
        destinations=[{"type": "file", "directory": str(folder), "signals": ["traces"]}],
    )
    with Collector(config, tmp_path) as collector:
        for _ in range(40):
            assert collector.post(_content_request())[0] == 200
        eventually(lambda: len(_lines(folder)) and _workers_in(folder) == {"worker-0", "worker-1"})
        for line in _lines(folder):
            seen |= set(re.findall(r"hash:[0-9a-f]+", line))
    assert len(seen) == 1


def _content_request() -> bytes:
    export = ExportTraceServiceRequest.FromString(request_of(new_ids(1)))
    span = export.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="input.value").value.string_value = "the same question"
    return export.SerializeToString()


def _lines(folder: Path) -> list[str]:
    return [line for file in folder.rglob("*.json*") for line in file.read_text().splitlines()]


def _workers_in(folder: Path) -> set[str]:
    return {file.relative_to(folder).parts[0] for file in folder.rglob("*.json*")}
