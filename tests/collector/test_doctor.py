"""`sidelight doctor`: what it finds, and what it says to do."""

from __future__ import annotations

import io
import os
import socket
import sys
import time
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidelight import conventions as names
from sidelight.collector import doctor
from sidelight.collector.config import Config
from sidelight.collector.doctor import Check, exit_code, render
from sidelight.collector.send import detect
from support.backend import Backend, Reply, Request
from support.guarded_phoenix import API_KEY, GuardedPhoenix
from support.langfuse import LangfuseStandIn

OWN_EXPOSITION = f"{names.prometheus_name(names.COLLECTOR_LOG_BYTES)} 0\n"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and none of the environment's keys."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith(("LANGFUSE_", "PHOENIX_"))]:
        monkeypatch.delenv(variable)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def configured(**sections: Any) -> Config:
    """A configuration on free ports, with room for its log, and no destinations."""
    defaults: dict[str, Any] = {
        "receive": {"otlp_http": {"port": 0}, "otlp_grpc": {"port": 0}},
        "serve": {"port": free_port()},
        "log": {"max_bytes": 2**20, "segment_bytes": 2**16},
        "destinations": [],
    }
    return Config.model_validate(defaults | sections)


def examine(config: Config) -> dict[str, Check]:
    """The checks by name, with each request given little time."""
    return {check.name: check for check in doctor.run(config, timeout_seconds=2)}


def everything(checks: dict[str, Check]) -> str:
    return repr(checks)


class TestConfiguration:
    def test_no_destination_is_a_warning(self) -> None:
        """Storing without sending is allowed, but hardly meant."""
        check = examine(configured())["configuration"]
        assert (check.status, "no destination" in check.found) == ("warn", True)

    def test_open_ports_are_a_warning(self) -> None:
        """A receiver that other machines reach without authentication is pointed at."""
        with Backend() as backend:
            config = configured(
                receive={"otlp_http": {"host": "0.0.0.0", "port": 0}, "otlp_grpc": {"port": 0}},
                destinations=[{"type": "otlp", "name": "other", "url": backend.url}],
            )
            check = examine(config)["configuration"]
        assert check.status == "warn"
        assert "receive.otlp_http (0.0.0.0)" in check.found

    def test_one_port_for_two_is_a_failure(self) -> None:
        """Two receivers cannot share a port."""
        port = free_port()
        config = configured(receive={"otlp_http": {"port": port}, "otlp_grpc": {"port": port}})
        check = examine(config)["configuration"]
        assert check.status == "fail"
        assert f"receive.otlp_http and receive.otlp_grpc share port {port}" in check.found

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
        config = configured()
        name = f"port {config.serve.port} (serve)"
        assert examine(config)[name].status == "ok"

    def test_a_taken_port_names_who_has_it(self) -> None:
        """The process that holds the port is named, by /proc."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            config = configured(receive={"otlp_http": {"port": port}, "otlp_grpc": {"port": 0}})
            check = examine(config)[f"port {port} (receive.otlp_http)"]
        assert check.status == "fail"
        assert f"(process {os.getpid()})" in check.found
        assert "receive.otlp_http.port" in check.advice

    def test_a_running_sidelight_may_have_its_ports(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service that already runs is no fault."""
        running = Backend(lambda _: Reply(200, OWN_EXPOSITION.encode()))
        monkeypatch.setattr(doctor.ports, "owner", lambda _: (os.getpid(), "sidelight up"))
        with running:
            config = configured(serve={"port": running.port})
            check = examine(config)[f"port {running.port} (serve)"]
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
                receive={"otlp_http": {"port": port}, "otlp_grpc": {"port": 0}},
            )
            check = examine(config)[f"port {port} (receive.otlp_http)"]
        assert check.status == "fail"

    def test_a_foreign_address(self) -> None:
        """An address this machine does not have cannot be bound."""
        config = configured(serve={"host": "192.0.2.1", "port": 9464})
        check = examine(config)["port 9464 (serve)"]
        assert check.status == "fail"
        assert "192.0.2.1 is no address of this machine" in check.found

    def test_options_of_the_owner_are_not_shown(self) -> None:
        """A command's options may hold secrets."""
        program = doctor.ports._program([b"/usr/bin/python3", b"-m", b"server", b"--token=x", b""])
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


class TestLangfuse:
    def config(self, url: str) -> Config:
        return configured(destinations=[{"type": "langfuse", "url": url}])

    def test_the_project_and_its_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Good keys show the project they belong to, and where its traces are."""
        with LangfuseStandIn() as server:
            monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", server.public_key)
            monkeypatch.setenv("LANGFUSE_SECRET_KEY", server.secret_key)
            check = examine(self.config(server.url))["langfuse"]
        assert check.status == "ok"
        assert "project Stand-in" in check.found
        assert f"{server.url}/project/prj-1/traces/<trace id>" in check.found

    def test_wrong_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The advice names the variables; the report holds no key."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-visible")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-hidden")
        with LangfuseStandIn() as server:
            checks = examine(self.config(server.url))
        assert checks["langfuse"].status == "fail"
        assert "$LANGFUSE_PUBLIC_KEY and $LANGFUSE_SECRET_KEY" in checks["langfuse"].advice
        assert "pk-lf-visible" not in everything(checks)
        assert "sk-lf-hidden" not in everything(checks)

    def test_missing_keys(self) -> None:
        """The missing variable is named without asking the server."""
        with LangfuseStandIn() as server:
            check = examine(self.config(server.url))["langfuse"]
            paths = [request.path for request in server.requests]
        assert check.status == "fail"
        assert "$LANGFUSE_PUBLIC_KEY is missing" in check.found
        assert "/api/public/projects" not in paths

    def test_something_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that is no Langfuse is told apart."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        with Backend(lambda _: Reply(200, b"<html>")) as backend:
            check = examine(self.config(backend.url))["langfuse"]
        assert check.status == "fail"
        assert "not as Langfuse does" in check.found

    def test_a_hang_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A destination that never answers ends the check within its timeout."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        with Backend(lambda _: Reply(fault="hang")) as backend:
            checks = doctor.run(self.config(backend.url), timeout_seconds=0.3)
        (check,) = [each for each in checks if each.name == "langfuse"]
        assert check.status == "fail"
        assert "no answer within 0.3 s" in check.found


class TestNoPhoenix:
    @pytest.mark.parametrize("status", [200, 404])
    def test_something_else(self, status: int) -> None:
        """A server that is no Phoenix is told apart, even if it takes everything."""
        with Backend(lambda _: Reply(status)) as backend:
            config = configured(destinations=[{"type": "phoenix", "url": backend.url}])
            check = examine(config)["phoenix"]
        assert check.status == "fail"
        assert "correct the destination's url" in check.advice

    def test_a_phoenix_in_trouble(self) -> None:
        """A Phoenix that cannot store is told to look at itself."""

        def respond(request: Request) -> Reply:
            version = request.path == "/arize_phoenix_version"
            return Reply(200, b"20.26.1") if version else Reply(507)

        with Backend(respond) as backend:
            config = configured(destinations=[{"type": "phoenix", "url": backend.url}])
            check = examine(config)["phoenix"]
        assert check.status == "fail"
        assert "answered 507" in check.found
        assert "disk" in check.advice


@pytest.mark.real
class TestPhoenix:
    def config(self, url: str, **options: Any) -> Config:
        return configured(destinations=[{"type": "phoenix", "url": url} | options])

    def test_a_good_key(
        self, guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Phoenix that takes traces shows its version."""
        monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
        check = examine(self.config(guarded_phoenix.url))["phoenix"]
        version = detect.phoenix_version(guarded_phoenix.url)
        assert version is not None
        assert check.status == "ok"
        assert f"Phoenix {version}" in check.found

    def test_a_wrong_key(
        self, guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The advice says where to put an API key; the report does not hold the wrong one."""
        monkeypatch.setenv("PHOENIX_API_KEY", "wrong-key-value")
        checks = examine(self.config(guarded_phoenix.url, name="mine"))
        assert checks["phoenix mine"].status == "fail"
        assert "$PHOENIX_API_KEY" in checks["phoenix mine"].advice
        assert "wrong-key-value" not in everything(checks)

    def test_the_clock_is_compared_with_phoenix(self, guarded_phoenix: GuardedPhoenix) -> None:
        """Phoenix's own Date shows that this machine's clock agrees with itself."""
        check = examine(self.config(guarded_phoenix.url))["clock"]
        assert check.status == "ok"
        assert guarded_phoenix.url in check.found

    def test_a_phoenix_that_answers_is_found(self, guarded_phoenix: GuardedPhoenix) -> None:
        """Without configured destinations a local Phoenix is one."""
        found = detect.destinations(configured(destinations=None), guarded_phoenix.url)
        assert [(each.type, each.url) for each in found] == [("phoenix", guarded_phoenix.url)]


class TestDetection:
    def test_a_dead_port_and_another_server_are_no_phoenix(self) -> None:
        """Only what answers as Phoenix does is taken for one."""
        with Backend(lambda _: Reply(200, b"<!doctype html>")) as backend:
            assert detect.phoenix_version(backend.url) is None
        assert detect.phoenix_version(f"http://127.0.0.1:{free_port()}") is None

    def test_langfuse_is_found_by_its_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys in the environment make a destination, at the address its SDK would use."""
        monkeypatch.setattr(detect, "phoenix_version", lambda _: None)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        assert detect.destinations(configured(destinations=None)) == ()
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        (cloud,) = detect.destinations(configured(destinations=None))
        assert cloud.url == "https://cloud.langfuse.com"
        monkeypatch.setenv("LANGFUSE_BASE_URL", "https://langfuse.example/")
        (own,) = detect.destinations(configured(destinations=None))
        assert own.url == "https://langfuse.example"

    def test_configured_destinations_stand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty list means none, whatever is there."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        assert detect.destinations(configured()) == ()


class TestOtlp:
    def config(self, url: str) -> Config:
        return configured(
            destinations=[
                {"type": "otlp", "name": "other", "url": url, "signals": ["traces", "logs"]}
            ]
        )

    def test_each_signal_is_tried_with_nothing(self) -> None:
        """An empty export of each configured signal shows that the endpoint takes it."""
        with Backend() as backend:
            check = examine(self.config(backend.url))["otlp other"]
            posts = [each.path for each in backend.requests if each.method == "POST"]
        assert check.status == "ok"
        assert posts == ["/v1/traces", "/v1/logs"]

    def test_a_signal_it_does_not_know(self) -> None:
        """The path that is missing is named."""

        def respond(request: Request) -> Reply:
            return Reply(404 if request.path == "/v1/logs" else 200)

        with Backend(respond) as backend:
            check = examine(self.config(backend.url))["otlp other"]
        assert check.status == "fail"
        assert f"{backend.url}/v1/logs answered 404" in check.found
        assert "/v1/traces answered" not in check.found


class TestClock:
    @pytest.mark.parametrize(("ahead", "words"), [(60, "behind"), (-60, "ahead of")])
    def test_a_skewed_clock(self, ahead: int, words: str) -> None:
        """A destination whose time differs by more than seconds is a warning."""
        there = formatdate(time.time() + ahead, usegmt=True)
        with Backend(lambda _: Reply(200), date=there) as backend:
            config = configured(
                destinations=[{"type": "otlp", "name": "other", "url": backend.url}]
            )
            check = examine(config)["clock"]
        assert check.status == "warn"
        assert words in check.found

    def test_nobody_to_ask(self) -> None:
        """Without destinations nothing is claimed."""
        assert "not compared" in examine(configured())["clock"].found


class TestPackages:
    def test_all_there(self) -> None:
        """In a full installation nothing is missing."""
        assert examine(configured())["packages"].status == "ok"

    @pytest.mark.parametrize(
        ("package", "status", "words"),
        [
            ("grpc", "fail", "sidelight[collector]"),
            ("grafana_foundation_sdk", "warn", "sidelight[dashboards]"),
            ("uvloop", "warn", "pip install uvloop"),
        ],
    )
    def test_a_missing_one_is_named(
        self, package: str, status: str, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The advice is the command that installs it."""
        monkeypatch.setattr(
            doctor.packages,
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
        monkeypatch.setattr(doctor.disk, "check", lambda _: 1 / 0)
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
