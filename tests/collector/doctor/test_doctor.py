"""`sidelight doctor`: what it finds, and what it says to do."""

from __future__ import annotations

import io
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidelight import conventions as names
from sidelight.base import ports
from sidelight.base.check import Check, exit_code
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.doctor import credentials, disk, packages
from sidelight.collector.doctor.report import render
from support.backend import Backend, Reply
from support.certificates import Authority
from support.collector import Collector, settings
from support.doctor import configured, everything, examine
from support.ports import free_port

OWN_EXPOSITION = f"{names.prometheus_name(names.COLLECTOR_LOG_BYTES)} 0\n"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and none of the environment's keys."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith(("LANGFUSE_", "PHOENIX_"))]:
        monkeypatch.delenv(variable)


class TestConfiguration:
    def test_no_destination_is_a_warning(self) -> None:
        """Storing without sending is allowed, but hardly meant."""
        check = examine(configured())["configuration"]
        assert (check.status, "no destination" in check.found) == ("warn", True)

    def test_open_ports_are_a_warning(self) -> None:
        """A receiver that other machines reach without authentication is pointed at."""
        with Backend() as backend:
            config = configured(
                receivers={"otlp_http": {"host": "0.0.0.0", "port": 0}, "otlp_grpc": {"port": 0}},
                destinations=[{"type": "otlp_http", "name": "other", "url": backend.url}],
            )
            check = examine(config)["configuration"]
        assert check.status == "warn"
        assert "receivers.otlp_http (0.0.0.0)" in check.found

    def test_one_port_for_two_is_a_failure(self) -> None:
        """Two receivers cannot share a port."""
        port = free_port()
        config = configured(receivers={"otlp_http": {"port": port}, "otlp_grpc": {"port": port}})
        check = examine(config)["configuration"]
        assert check.status == "fail"
        assert (
            f"receivers.otlp_http and receivers.otlp_grpc have the same port, {port}" in check.found
        )

    def test_a_langfuse_url_of_the_environment_that_is_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A destination found by its keys needs a usable address."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        monkeypatch.setenv("LANGFUSE_HOST", "langfuse.internal")
        check = examine(configured(destinations=None))["configuration"]
        assert check.status == "fail"
        assert "LANGFUSE_HOST: must be an http:// or https:// URL" in check.found


class TestPorts:
    def test_a_free_port(self) -> None:
        """A port nobody uses is fine."""
        assert examine(configured())["serve"].status == "ok"

    def test_a_taken_port_names_who_has_it(self) -> None:
        """The process that holds the port is named, by /proc."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            config = configured(receivers={"otlp_http": {"port": port}, "otlp_grpc": {"port": 0}})
            check = examine(config)["receivers.otlp_http"]
        assert check.status == "fail"
        assert f"(process {os.getpid()})" in check.found
        assert "receivers.otlp_http.port" in check.advice

    def test_a_running_sidelight_may_have_its_ports(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service that already runs is no fault."""
        running = Backend(lambda _: Reply(200, OWN_EXPOSITION.encode()))
        monkeypatch.setattr(ports, "owner", lambda _: (os.getpid(), "sidelight up"))
        with running:
            config = configured(serve={"port": running.port})
            check = examine(config)["serve"]
        assert check.status == "ok"
        assert "served by the running Sidelight" in check.found

    def test_anothers_port_is_not_excused_by_a_running_sidelight(self) -> None:
        """While Sidelight runs, a port that some other program holds is still a fault."""
        with (
            Backend(lambda _: Reply(200, OWN_EXPOSITION.encode())) as running,
            socket.create_server(("127.0.0.1", 0)) as listener,
        ):
            port = listener.getsockname()[1]
            config = configured(
                serve={"port": running.port},
                receivers={"otlp_http": {"port": port}, "otlp_grpc": {"port": 0}},
            )
            check = examine(config)["receivers.otlp_http"]
        assert check.status == "fail"

    def test_a_foreign_address(self) -> None:
        """An address this machine does not have cannot be bound."""
        config = configured(serve={"host": "192.0.2.1", "port": 9464})
        check = examine(config)["serve"]
        assert check.status == "fail"
        assert "192.0.2.1 is not an address of this machine" in check.found

    def test_options_of_the_owner_are_not_shown(self) -> None:
        """A command's options may hold secrets."""
        program = ports._program([b"/usr/bin/python3", b"-m", b"server", b"--token=x", b""])
        assert program == "python3 server"


class TestDisk:
    def test_a_writable_folder_is_left_as_it_was(self, tmp_path: Path) -> None:
        """The folder is not made, and a probe leaves nothing behind."""
        check = examine(configured())["disk"]
        assert check.status == "ok"
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        """A folder cannot be made where a file stands."""
        (tmp_path / "data").touch()
        check = examine(configured(log={"directory": tmp_path / "data" / "log"}))["disk"]
        assert check.status == "fail"
        assert f"{tmp_path / 'data'} is a file" in check.found

    def test_a_folder_that_cannot_be_written(self) -> None:
        """What the system says is passed on, with the folder's name."""
        check = examine(configured(log={"directory": "/proc/sidelight"}))["disk"]
        assert check.status == "fail"
        assert "/proc" in check.advice

    def test_less_room_than_the_log_may_take(self) -> None:
        """The size cap is compared with what is free."""
        check = examine(configured(log={"max_bytes": 2**60}))["disk"]
        assert check.status == "warn"
        assert "log.max_bytes" in check.advice

    def test_less_room_than_a_segment(self) -> None:
        """Without room for one segment the service could not work."""
        check = examine(configured(log={"segment_bytes": 2**60, "max_bytes": 2**60}))["disk"]
        assert check.status == "fail"


class TestPackages:
    def test_all_there(self) -> None:
        """In a full installation nothing is missing."""
        assert examine(configured())["packages"].status == "ok"

    @pytest.mark.parametrize(
        ("package", "status", "words"),
        [
            ("grpc", "fail", "sidelight[collector]"),
            ("grafana_foundation_sdk", "warn", "sidelight[dashboards]"),
            ("uvloop", "fail", "sidelight[collector]"),
        ],
    )
    def test_a_missing_one_is_named(
        self, package: str, status: str, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The advice is the command that installs it."""
        monkeypatch.setattr(
            packages,
            "find_spec",
            lambda name: None if name == package else find_spec(name),
        )
        check = examine(configured())["packages"]
        assert check.status == status
        assert package in check.found
        assert words in check.advice


class TestReport:
    def test_every_finding_is_printed_as_it_is(self) -> None:
        """Names, findings and advice appear, and nothing from outside is taken for markup."""
        checks = [
            Check("disk", "ok", "writable"),
            Check("otlp other", "fail", "it says: [red]no[/red]", "Correct the url."),
        ]
        console = Console(file=io.StringIO(), width=120)
        render(checks, console)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        for words in ("ok", "disk", "writable", "fail", "[red]no[/red]", "Correct the url."):
            assert words in text

    def test_only_failures_fail(self) -> None:
        """The exit code is 1 if any check failed; a warning stops nothing."""
        ok, warn, fail = (Check("x", status, "") for status in ("ok", "warn", "fail"))
        assert exit_code([ok, warn]) == 0
        assert exit_code([ok, fail, warn]) == 1

    def test_a_check_that_breaks_hides_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fault in one check is its own finding."""
        monkeypatch.setattr(disk, "check", lambda _: 1 / 0)
        checks = examine(configured())
        assert checks["disk"].status == "fail"
        assert "ZeroDivisionError" in checks["disk"].found
        assert checks["packages"].status == "ok"

    def test_the_service_need_not_load_rich(self) -> None:
        """Importing the doctor leaves the table library out of memory."""
        import subprocess

        code = "import sys, sidelight.collector.doctor; print('rich.table' in sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert loaded.stdout.strip() == b"False"


class TestCredentials:
    def test_what_cannot_be_used_is_found_before_a_start(self, tmp_path: Path) -> None:
        """Certificates by key and file, tokens by line, and no token is shown."""
        tls = {"certificate": str(tmp_path / "none.crt"), "key": str(tmp_path / "none.key")}
        check = examine(configured(serve={"port": free_port(), "tls": tls}))[credentials.NAME]
        assert check.status == "fail"
        assert f"serve.tls.certificate: {tmp_path / 'none.crt'}" in check.found
        (tmp_path / "tokens").write_text("too-short\n")
        auth = {"tokens": [{"file": str(tmp_path / "tokens")}]}
        found = examine(configured(auth=auth))
        assert (found[credentials.NAME].status, "line 1" in found[credentials.NAME].found) == (
            "fail",
            True,
        )
        assert "too-short" not in everything(found)

    def test_nothing_to_find_is_well(self) -> None:
        """The default has neither."""
        check = examine(configured())[credentials.NAME]
        assert (check.status, "TLS on: none" in check.found) == ("ok", True)

    def test_guarded_ports_are_not_called_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beyond loopback with tokens is as it should be."""
        monkeypatch.setenv("TOKEN", "token-0123456789abcdef")
        with Backend() as backend:
            config = configured(
                receivers={
                    "otlp_http": {"host": "0.0.0.0", "port": 0},
                    "otlp_grpc": {"port": 0},
                },
                auth={"tokens": [{"env": "TOKEN"}]},
                destinations=[{"type": "otlp_http", "name": "other", "url": backend.url}],
            )
            assert examine(config)["configuration"].status == "ok"

    @pytest.mark.parametrize("guard", ["tokens", "certificates", "both"])
    def test_a_running_sidelight_is_known_through_its_guard(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str
    ) -> None:
        """Its ports are not called taken, whether or not its figures can be read."""
        monkeypatch.setenv("SCRAPER", "token-0123456789abcdef")
        authority = Authority(tmp_path)
        issued = authority.issue()
        serve: dict[str, Any] = {"port": free_port()}
        if guard != "certificates":
            serve["tokens"] = [{"env": "SCRAPER"}]
        if guard != "tokens":
            serve["tls"] = {"certificate": str(issued.certificate), "key": str(issued.key)}
        if guard == "certificates":
            serve["tls"]["client_ca"] = str(authority.certificate)
        config = {**settings(tmp_path), "serve": serve}
        env = {"SCRAPER": "token-0123456789abcdef"}
        with Collector(config, tmp_path / "running", env=env):
            check = examine(Config.model_validate(config))["serve"]
        assert (check.status, "served by the running Sidelight" in check.found) == ("ok", True)
