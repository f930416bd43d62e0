"""How the collector starts, and the one clear sentence where it cannot."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidelight.otlp import wire
from support.certificates import Authority
from support.collector import Collector, environment, run_to_end, settings
from support.span_load import new_ids, request_of
from support.waiting import PATIENCE_SECONDS, eventually

_FREE_PORTS = {
    "SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT": "0",
    "SIDELIGHT_RECEIVERS__OTLP_GRPC__PORT": "0",
    "SIDELIGHT_SERVE__PORT": "0",
    "SIDELIGHT_DESTINATIONS": "[]",
}


def test_without_any_file(tmp_path: Path) -> None:
    """It listens on loopback, keeps its log in ./sidelight-data and writes the dashboards."""
    with Collector(None, tmp_path, env=_FREE_PORTS) as collector:
        assert collector.post(request_of(new_ids(3)))[0] == 200
        assert list((tmp_path / "sidelight-data").glob("*.segment"))
        eventually(lambda: "dashboards written to sidelight-dashboards" in collector.messages)
        boards = list((tmp_path / "sidelight-dashboards").glob("*.json"))
        assert boards
        assert all(json.loads(board.read_text()) for board in boards)
        for port in (collector.http_port, collector.grpc_port, collector.serve_port):
            assert _listening_addresses(port) == {"127.0.0.1"}
        assert collector.terminate() == 0


@pytest.mark.parametrize("secured", [False, True])
def test_all_addresses_are_those_of_ipv4_too(tmp_path: Path, secured: bool) -> None:
    """On `::` both kinds of addresses answer at every port, with TLS and without."""
    files = Authority(tmp_path).issue()
    tls = {"certificate": str(files.certificate), "key": str(files.key)} if secured else None
    listener = {"host": "::", "port": 0, "tls": tls}
    receivers = {"otlp_http": listener, "otlp_grpc": listener}
    with Collector(settings(tmp_path, receivers=receivers, serve=listener), tmp_path) as collector:
        for port in (collector.http_port, collector.grpc_port, collector.serve_port):
            for address in ("127.0.0.1", "::1"):
                socket.create_connection((address, port), PATIENCE_SECONDS).close()
        assert collector.terminate() == 0


def _listening_addresses(port: int) -> set[str]:
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, text = local.partition(":")
            if state == "0A" and int(text, 16) == port:
                raw = bytes.fromhex(address)
                words = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
                found.add(socket.inet_ntop(family, words).removeprefix("::ffff:"))
    return found


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"receivers": {"otlp_http": {"port": 0}}}, "receivers.otlp_http.port"),
        ({"receivers": {"otlp_grpc": {"port": 0}}}, "receivers.otlp_grpc.port"),
        ({"serve": {"port": 0}}, "serve.port"),
    ],
    ids=["http", "grpc", "serve"],
)
def test_a_taken_port(tmp_path: Path, section: dict[str, Any], named: str) -> None:
    """Exit 1 and one line: the address, what is wrong, which key to change."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        config = json.loads(json.dumps(settings(tmp_path)))
        target: Any = config
        *path, key = named.split(".")
        for part in path:
            target = target[part]
        target[key] = port
        code, messages = run_to_end(config, tmp_path)
    assert code == 1
    complaints = [line for line in messages if "no destination" not in line]
    assert len(complaints) == 1, messages
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use): stop" in complaints[0]
    assert named in complaints[0]


def test_without_destinations_a_warning_says_what_to_do(tmp_path: Path) -> None:
    """Data is stored, and a reload is enough once one is configured."""
    with Collector(settings(tmp_path), tmp_path) as collector:
        (warning,) = [line for line in collector.messages if "no destination" in line]
    assert "configure one and reload (SIGHUP)" in warning


@pytest.mark.parametrize(
    ("section", "host", "said"),
    [
        (
            "receivers.otlp_http",
            "999.1.1",
            "(unknown host): correct receivers.otlp_http.host",
        ),
        (
            "receivers.otlp_grpc",
            "999.1.1",
            "(unknown host): correct receivers.otlp_grpc.host",
        ),
        ("serve", "192.0.2.1", "(Cannot assign requested address): set serve.host"),
    ],
)
def test_a_host_that_is_not_this_machine(
    tmp_path: Path, section: str, host: str, said: str
) -> None:
    """Exit 1; the key to change is the host's, and nothing is to be stopped."""
    config = json.loads(json.dumps(settings(tmp_path)))
    target: Any = config
    for part in section.split("."):
        target = target[part]
    target["host"] = host
    code, messages = run_to_end(config, tmp_path)
    assert code == 1
    assert f"cannot listen on {host}:0" in messages[-1]
    assert said in messages[-1]
    assert "stop the process" not in messages[-1]


def test_an_unknown_key(tmp_path: Path) -> None:
    """Exit 2, the file, the key, and the keys there are."""
    config = settings(tmp_path)
    config["receivers"]["otlp_http"]["prot"] = 4318
    code, messages = run_to_end(config, tmp_path)
    assert code == 2
    (message,) = messages
    assert re.search(r"sidelight\.yaml:\d+: receivers\.otlp_http\.prot: unknown key", message)
    assert "port" in message


def test_a_fault_found_when_parts_are_built(tmp_path: Path) -> None:
    """What only the destination's builder can see is bad configuration as well: exit 2."""
    config = settings(
        tmp_path,
        destinations=[
            {
                "type": "otlp_http",
                "name": "a",
                "url": "http://h",
                "headers": {"bad name": {"env": "X"}},
            }
        ],
    )
    code, messages = run_to_end(config, tmp_path)
    assert code == 2
    assert "'bad name' is not a valid header name" in messages[-1]


def test_a_folder_that_is_anothers(tmp_path: Path) -> None:
    """Exit 1; the message names the folder and the key, and the first one is not disturbed."""
    with Collector(settings(tmp_path), tmp_path) as first:
        code, messages = run_to_end(settings(tmp_path), tmp_path / "second")
        assert code == 1
        assert f"{tmp_path / 'log'} is in use by another running sidelight" in messages[-1]
        assert "log.directory" in messages[-1]
        assert first.post(request_of(new_ids(1)))[0] == 200


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Exit 1, with the path and the system's reason."""
    (tmp_path / "log").write_text("a file")
    code, messages = run_to_end(settings(tmp_path), tmp_path)
    assert code == 1
    assert f"log folder {tmp_path / 'log'}" in messages[-1]


def test_a_log_of_a_newer_version(tmp_path: Path) -> None:
    """One sentence and exit 1, also of the commands that look into it; nothing is changed."""
    log = tmp_path / "log"
    log.mkdir()
    (log / "format").write_text("99\n")
    (log / f"{1:020d}.segment").write_bytes(b"SLR\x63 of a newer version")
    code, messages = run_to_end(settings(tmp_path), tmp_path)
    assert code == 1
    assert messages[-1].startswith(f"log folder {log} has format 99, and this version")
    assert messages[-1].endswith("or set log.directory to another folder")
    for command in (["ls"], ["cat"], ["replay", "phoenix", "--all"], ["dead-letters", "ls"]):
        (log / "dead-letters").mkdir(exist_ok=True)
        answer = subprocess.run(
            [sys.executable, "-m", "sidelight.collector", "log", *command, "--directory", log],
            check=False,
            capture_output=True,
            text=True,
            env=environment(),
        )
        assert answer.returncode == 1
        assert answer.stderr.startswith(f"sidelight: log folder {log} has format 99")
        assert len(answer.stderr.splitlines()) == 1
    assert (log / f"{1:020d}.segment").read_bytes() == b"SLR\x63 of a newer version"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("ro", "Read-only file system; mount the volume writable"),
        ("nr_inodes=2", "free some space"),
    ],
)
def test_a_volume_that_takes_nothing(tmp_path: Path, options: str, reason: str) -> None:
    """One sentence, and exit 1."""
    volume = tmp_path / "volume"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "sidelight-test", str(volume)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("file systems can be mounted by root only")
    try:
        code, messages = run_to_end(
            settings(tmp_path, log={"directory": str(volume / "log")}), tmp_path
        )
    finally:
        subprocess.run(["umount", "--lazy", volume], check=True)
    assert code == 1
    assert messages[-1].startswith(f"log folder {volume / 'log'} cannot be used: ")
    assert reason in messages[-1]
    assert messages[-1].endswith("or set log.directory to another folder")


def test_a_receiver_that_is_off(tmp_path: Path) -> None:
    """Only what is enabled listens."""
    config = settings(tmp_path)
    config["receivers"]["otlp_grpc"] = {"enabled": False}
    with Collector(config, tmp_path) as collector:
        assert collector.grpc_port == 0
        assert collector.post(request_of(new_ids(1)))[0] == 200
        assert collector.terminate() == 0


def test_how_spans_are_read(tmp_path: Path) -> None:
    """The log says at its lowest level whether the extension in C is there."""
    reader = "the extension in C" if wire.HAS_C else "protobuf and Python"
    config = settings(tmp_path, logging={"level": "debug"})
    with Collector(config, tmp_path) as collector:
        eventually(lambda: f"spans are read by {reader}" in collector.messages)
        assert collector.terminate() == 0
