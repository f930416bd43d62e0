"""What the doctor and the service find out about destinations, configured or not."""

from __future__ import annotations

import asyncio
import os
import time
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sidelight.collector.app import detect
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.phoenix import detect as phoenix_detect
from sidelight.collector.destinations.phoenix.check import phoenix_version
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.doctor import clock, runner
from support import otlp_requests
from support.backend import Backend, Reply, Request
from support.doctor import configured, everything, examine
from support.guarded_phoenix import API_KEY, GuardedPhoenix
from support.langfuse import LangfuseStandIn
from support.ports import free_port
from support.sending import opened
from support.waiting import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and none of the environment's keys."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith(("LANGFUSE_", "PHOENIX_"))]:
        monkeypatch.delenv(variable)


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
        assert "$LANGFUSE_PUBLIC_KEY is not set" in check.found
        assert "/api/public/projects" not in paths

    def test_something_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that is no Langfuse is told apart."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        with Backend(lambda _: Reply(200, b"<html>")) as backend:
            check = examine(self.config(backend.url))["langfuse"]
        assert check.status == "fail"
        assert "unlike Langfuse" in check.found

    def test_a_hang_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A destination that never answers ends the check within its timeout."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        with Backend(lambda _: Reply(fault="hang")) as backend:
            checks = runner.run(self.config(backend.url), timeout_seconds=0.3)
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
        said = f"{check.found} {check.advice}".lower()
        assert said.count("correct the url") + said.count("correct the destination's url") == 1

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


class TestPhoenix:
    def config(self, url: str, **options: Any) -> Config:
        return configured(destinations=[{"type": "phoenix", "url": url} | options])

    @pytest.mark.real("phoenix")
    def test_a_good_key(
        self, guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Phoenix that takes traces shows its version."""
        monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
        check = examine(self.config(guarded_phoenix.url))["phoenix"]
        version = asyncio.run(phoenix_version(_phoenix(guarded_phoenix.url), PATIENCE_SECONDS))
        assert version is not None
        assert check.status == "ok"
        assert f"Phoenix {version}" in check.found

    @pytest.mark.real("phoenix")
    def test_a_wrong_key(
        self, guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The advice says where to put an API key; the report does not hold the wrong one."""
        monkeypatch.setenv("PHOENIX_API_KEY", "wrong-key-value")
        checks = examine(self.config(guarded_phoenix.url, name="mine"))
        assert checks["phoenix mine"].status == "fail"
        assert "$PHOENIX_API_KEY" in checks["phoenix mine"].advice
        assert "wrong-key-value" not in everything(checks)

    def test_a_phoenix_that_is_not_there(self) -> None:
        """What to do is said once: the finding says where, the advice with which command."""
        check = examine(self.config(f"http://127.0.0.1:{free_port()}"))["phoenix"]
        assert check.status == "fail"
        assert "start it or correct the url" in check.found
        assert "phoenix serve" in check.advice
        assert "url" not in check.advice

    @pytest.mark.real("phoenix")
    def test_the_clock_is_compared_with_phoenix(self, guarded_phoenix: GuardedPhoenix) -> None:
        """Phoenix's own Date shows that this machine's clock agrees with itself."""
        check = examine(self.config(guarded_phoenix.url))["clock"]
        assert check.status == "ok"
        assert guarded_phoenix.url in check.found

    @pytest.mark.real("phoenix")
    def test_a_phoenix_that_answers_is_found(
        self, guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without configured destinations a local Phoenix is one."""
        monkeypatch.setattr(phoenix_detect, "_TIMEOUT_SECONDS", PATIENCE_SECONDS)
        found = phoenix_detect.detect(lambda _: False, guarded_phoenix.url)
        assert found == PhoenixDestination(type="phoenix", url=guarded_phoenix.url)


def _phoenix(url: str) -> PhoenixDestination:
    return PhoenixDestination(type="phoenix", url=url)


async def _no_version(_config: PhoenixDestination, _timeout_seconds: float) -> None:
    """No Phoenix is there."""


class TestDetection:
    async def test_a_dead_port_and_another_server_are_no_phoenix(self) -> None:
        """Only what answers as Phoenix does is taken for one."""
        with Backend(lambda _: Reply(200, b"<!doctype html>")) as backend:
            assert await phoenix_version(_phoenix(backend.url), PATIENCE_SECONDS) is None
        assert (
            await phoenix_version(_phoenix(f"http://127.0.0.1:{free_port()}"), PATIENCE_SECONDS)
            is None
        )

    def test_langfuse_is_found_by_its_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys in the environment make a destination, at the address its SDK would use."""
        monkeypatch.setattr(phoenix_detect, "phoenix_version", _no_version)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        assert detect.destinations(configured(destinations=None)) == ()
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        (cloud,) = detect.destinations(configured(destinations=None))
        assert isinstance(cloud, LangfuseDestination)
        assert cloud.url == "https://cloud.langfuse.com"
        monkeypatch.setenv("LANGFUSE_BASE_URL", "https://langfuse.example/")
        (own,) = detect.destinations(configured(destinations=None))
        assert isinstance(own, LangfuseDestination)
        assert own.url == "https://langfuse.example"

    def test_a_phoenix_that_is_down_keeps_its_backlog(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Found before and behind, it is a destination: retention must not pass its cursor."""
        monkeypatch.setattr(phoenix_detect, "phoenix_version", _no_version)
        config = configured(destinations=None, log={"directory": tmp_path})
        with opened(tmp_path) as log:
            log.append([otlp_requests.traces([otlp_requests.span()])])
            assert detect.destinations(config) == ()
            log.cursor("phoenix").commit(log.end)
            assert detect.destinations(config) == ()
            log.append([otlp_requests.traces([otlp_requests.span()])])
            assert [each.name for each in detect.destinations(config)] == ["phoenix"]

    def test_configured_destinations_stand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty list means none, whatever is there."""
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
        assert detect.destinations(configured()) == ()


class TestOtlp:
    def config(self, url: str) -> Config:
        return configured(
            destinations=[
                {"type": "otlp_http", "name": "other", "url": url, "signals": ["traces", "logs"]}
            ]
        )

    def test_each_signal_is_tried_with_nothing(self) -> None:
        """An empty export of each configured signal shows that the endpoint takes it."""
        with Backend() as backend:
            check = examine(self.config(backend.url))["otlp_http other"]
            posts = [each.path for each in backend.requests if each.method == "POST"]
        assert check.status == "ok"
        assert posts == ["/v1/traces", "/v1/logs"]

    def test_a_signal_it_does_not_know(self) -> None:
        """The path that is missing is named."""

        def respond(request: Request) -> Reply:
            return Reply(404 if request.path == "/v1/logs" else 200)

        with Backend(respond) as backend:
            check = examine(self.config(backend.url))["otlp_http other"]
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
                destinations=[{"type": "otlp_http", "name": "other", "url": backend.url}]
            )
            check = examine(config)["clock"]
        assert check.status == "warn"
        assert words in check.found

    async def test_an_answer_that_takes_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its time is somewhere between question and answer, which is no skew."""
        times = iter([1_000.0, 1_040.0])
        monkeypatch.setattr(clock, "time", SimpleNamespace(time=lambda: next(times)))
        with Backend(lambda _: Reply(200), date=formatdate(1_038, usegmt=True)) as backend:
            assert await clock.skew_seconds(backend.url, PATIENCE_SECONDS) == 0

    def test_nobody_to_ask(self) -> None:
        """Without destinations nothing is claimed."""
        assert "not compared" in examine(configured())["clock"].found
