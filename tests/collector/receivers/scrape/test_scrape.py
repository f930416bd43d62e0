"""Scraping real servers on loopback: good ones, dead ones, slow ones and liars."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from prometheus_client.samples import Sample

from sidelight import conventions
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.scrape.config import Scrape
from sidelight.collector.receivers.scrape.scraper import Scraper
from support import openmetrics
from support.backend import Backend, Reply
from support.certificates import Authority
from support.exposition_server import serve_pages
from support.paths import DATA
from support.ports import free_port
from support.waiting import PATIENCE_SECONDS, eventually_async

RECORDED = DATA / "vllm" / "metrics-0.32-load.txt"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scraped:
    """A scraper and what it would serve."""

    def __init__(self, *targets: object, **options: object) -> None:
        # One scrape, however slow the machine is, unless a test wants more.
        once = {"timeout_seconds": PATIENCE_SECONDS, "interval_seconds": 3600.0}
        values = {"targets": targets} | once | options
        self.registry = Registry()
        self.clock = Clock()
        self.scraper = Scraper(Scrape.model_validate(values), self.registry, clock=self.clock)

    def samples(self, name: str) -> list[Sample]:
        return openmetrics.samples(name, self.registry, self.scraper)

    def outcomes(self) -> dict[str, dict[str, float]]:
        """Counts by target and outcome."""
        found: dict[str, dict[str, float]] = {}
        for each in self.samples("sidelight_collector_scrapes_total"):
            found.setdefault(each.labels["target"], {})[each.labels["outcome"]] = each.value
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Scrapes within the block."""
        task = asyncio.create_task(self.scraper.run())
        try:
            async with asyncio.timeout(120):
                yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def wait_for(self, name: str, count: int = 1) -> list[Sample]:
        """Waits until so many samples of a name are served."""
        await eventually_async(lambda: len(self.samples(name)) >= count)
        return self.samples(name)

    async def until(self, name: str, count: int = 1) -> list[Sample]:
        """Runs until so many samples of a name are served."""
        async with self.running():
            return await self.wait_for(name, count)


@contextmanager
def answering(*parts: bytes, pause: float = 0.0, times: int = 1) -> Iterator[str]:
    """A server that sends raw bytes, part by part, to each client."""
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                for _ in range(times):
                    for part in parts:
                        try:
                            connection.sendall(part)
                        except OSError:
                            break
                        if stop.wait(pause):
                            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(120)


async def test_two_engines_are_served_as_one_exposition() -> None:
    """Families of several targets are merged, told apart by instance and configured labels."""
    page = lambda accept: (TEXT, RECORDED.read_bytes())  # noqa: E731
    with serve_pages({"/metrics": page}) as one, serve_pages({"/metrics": page}) as two:
        scraped = Scraped(
            {"url": f"http://{one}/metrics"},
            {"url": f"http://{two}/metrics", "job": "vllm-b", "labels": {"zone": "b"}},
        )
        found = await scraped.until("vllm:kv_cache_usage_perc", 2)
        assert [each.labels["instance"] for each in found] == [one, two]
        assert [each.labels["job"] for each in found] == ["vllm", "vllm-b"]
        assert [each.labels.get("zone") for each in found] == [None, "b"]
        assert [each.value for each in scraped.samples("up")] == [1, 1]
        assert scraped.outcomes()[f"http://{one}/metrics"] == {"ok": 1}


async def test_the_text_format_is_asked_for() -> None:
    """Asked for OpenMetrics, vLLM would answer with `vllm_` in place of `vllm:`."""
    asked: list[str] = []

    def page(accept: str) -> tuple[str, bytes]:
        asked.append(accept)
        return TEXT, b"vllm:a 1\n"

    with serve_pages({"/metrics": page}) as host:
        await Scraped({"url": f"http://{host}/metrics"}).until("vllm:a")
    assert "openmetrics" not in asked[0]


async def test_a_scrape_is_repeated() -> None:
    """The latest answer is the one that is served."""
    answers = iter(range(100))
    with serve_pages({"/m": lambda accept: (TEXT, b"a %d\n" % next(answers))}) as host:
        scraped = Scraped({"url": f"http://{host}/m"}, interval_seconds=1.0)
        async with scraped.running():
            await eventually_async(lambda: [s.value for s in scraped.samples("a")] >= [2])


async def test_one_dead_target_delays_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A hanging, a refusing and a dripping target are said by `up`; the good one is there."""
    with (
        serve_pages({"/m": lambda accept: (TEXT, b"good 1\n")}) as good,
        socket.create_server(("127.0.0.1", 0)) as hanging,
        answering(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"#", pause=0.1, times=50
        ) as dripping,
        caplog.at_level(logging.WARNING),
    ):
        hangs = f"127.0.0.1:{hanging.getsockname()[1]}"
        refuses = f"127.0.0.1:{free_port()}"
        hosts = (hangs, refuses, dripping, good)
        # On a machine that stands still for as long, the good one is too late as well, once.
        targets = [{"url": f"http://{host}/m?token=secret"} for host in hosts[:3]]
        targets.append({"url": f"http://{good}/m"})
        scraped = Scraped(*targets, timeout_seconds=3, interval_seconds=1)
        expected = {hangs: 0, refuses: 0, dripping: 0, good: 1}

        def found() -> dict[str, float]:
            return {each.labels["instance"]: each.value for each in scraped.samples("up")}

        async with scraped.running():
            start = time.monotonic()
            await scraped.wait_for("good")
            is_early = f"http://{hangs}/m" not in scraped.outcomes()
            assert is_early or time.monotonic() - start > 3
            await eventually_async(lambda: found() == expected)
            await eventually_async(
                lambda: "unreachable" in scraped.outcomes()[f"http://{refuses}/m"]
            )
        outcomes = scraped.outcomes()
        assert list(outcomes[f"http://{hangs}/m"]) == ["timeout"]
        assert list(outcomes[f"http://{dripping}/m"]) == ["timeout"]
    assert "secret" not in caplog.text
    # Once for each target, not for each scrape.
    for host in hosts[:3]:
        assert len([each for each in caplog.messages if f"{host}/m failed" in each]) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\n", "malformed"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\na 1\n",
            "malformed",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"a 1\n" * 500, "too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n", "unreachable"),
        (
            b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.2:9/m\r\nContent-Length: 0\r\n\r\n",
            "status",
        ),
        (b"HTTP/1.1 302 Go\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n", "status"),
        (b"SSH-2.0-OpenSSH\r\n", "unreachable"),
    ],
    ids=[
        "error",
        "no exposition",
        "no UTF-8",
        "gzip unasked",
        "too large",
        "cut off",
        "redirected to another host",
        "redirected to no address",
        "no HTTP",
    ],
)
async def test_an_answer_that_is_no_exposition_is_refused_whole(
    answer: bytes, outcome: str
) -> None:
    """Nothing of it is served, and the outcome says what was wrong."""
    with answering(answer) as host:
        scraped = Scraped({"url": f"http://{host}/m"}, max_bytes=1024)
        await scraped.until("up")
    assert scraped.outcomes() == {f"http://{host}/m": {outcome: 1}}
    assert [each.value for each in scraped.samples("up")] == [0]
    assert scraped.samples("a") == []


@pytest.mark.parametrize(
    "text",
    [
        b"my card is 411111 1111\n",
        b'a{x="411111",x="411111"} 1\n',
        b'# TYPE a histogram\na_bucket{le="411111 1111"} 1\n',
    ],
)
async def test_what_a_target_says_reaches_no_log_line(
    text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong URL may lead to a page with content: size and a hash are logged."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
    with answering(head + text) as host:
        scraped = Scraped({"url": f"http://{host}/m"})
        await scraped.until("up")
    assert "bytes, hash " in caplog.text
    assert "411111" not in caplog.text


async def test_a_target_has_certificates_of_its_own(tmp_path: Path) -> None:
    """`ca` and `client_certificate` as destinations have them."""
    authority = Authority(tmp_path)
    server, client = authority.issue(), authority.issue("client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    keys = {
        "ca": str(authority.certificate),
        "client_certificate": {"certificate": str(client.certificate), "key": str(client.key)},
    }
    with Backend(lambda _: Reply(200, b"a 1\n", {"Content-Type": TEXT}), tls=context) as backend:
        scraped = Scraped({"url": f"{backend.url}/m", **keys})
        await scraped.until("a")
        strange = Scraped({"url": f"{backend.url}/m", "ca": keys["ca"]})
        await strange.until("up")
    assert [sample.value for sample in scraped.samples("a")] == [1]
    assert [sample.value for sample in strange.samples("up")] == [0]


async def test_a_path_is_written_as_requests_have_it() -> None:
    """Letters beyond ASCII are encoded; what is encoded already, and a query's signs, stay."""
    with serve_pages({"/%C3%BC%20?m[]=%5B%E2%98%83": lambda accept: (TEXT, b"a 1\n")}) as host:
        scraped = Scraped({"url": f"http://{host}/ü%20?m[]=%5B☃"})
        await scraped.until("a")


async def test_a_target_that_fell_silent_is_dropped() -> None:
    """Its last answer is served for three intervals and no longer, and `up` does not stay 1."""
    with serve_pages({"/m": lambda accept: (TEXT, b"a 1\n")}) as host:
        scraped = Scraped({"url": f"http://{host}/m"}, interval_seconds=1.0)
        await scraped.until("a")
    scraped.clock.now += 2.9
    assert [each.value for each in scraped.samples("a")] == [1]
    scraped.clock.now += 0.2
    assert scraped.samples("a") == []
    assert [each.value for each in scraped.samples("up")] == [0]


def test_targets_that_cannot_be_told_apart_are_refused() -> None:
    """The message names both and says what to do."""
    same = {"url": "http://127.0.0.1:8000/metrics"}
    with pytest.raises(ConfigError, match="give one of them another label"):
        Scraped(same, same)
    Scraped(same, {**same, "labels": {"zone": "b"}})


async def test_the_default_ports_are_part_of_the_instance() -> None:
    """As Prometheus does, an address without a port gets its scheme's."""
    scraped = Scraped({"url": "http://[::1]/metrics"}, {"url": "https://[::1]/metrics"})
    found = await scraped.until(conventions.TARGET_UP, 2)
    assert [each.labels["instance"] for each in found] == ["[::1]:80", "[::1]:443"]
