"""Scraping: fetches the expositions of vLLM and the databases, to be served on /metrics."""

from __future__ import annotations

import asyncio
import logging
import string
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote, urljoin, urlsplit

from sidelight import conventions
from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import off_loop_if
from sidelight.base.http_client.client import Answer, HttpClient, NoAnswerError
from sidelight.collector.metrics.family import AnyFamily, Family, ScrapedFamily, Series, labels_text
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.scrape.config import Scrape, ScrapeTarget
from sidelight.collector.receivers.scrape.text_format import MalformedExpositionError, TextReader
from sidelight.otlp.prometheus.values import NumberValue

# The text format alone: asked for OpenMetrics without `escaping=allow-utf-8`, vLLM's
# prometheus_client spells `vllm:x` as `vllm_x`.
_ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
# Servers close an idle connection sooner than the next scrape is due, some of them just then.
_HEADERS = {"Accept": _ACCEPT, "Accept-Encoding": "identity", "Connection": "close"}

# What a target last said is shown for so many intervals after it stopped answering.
_STALE_INTERVALS = 3
# Some 13 ns a character, or 1.7 ms.
_MAX_TEXT_ON_LOOP = 128 * 1024
_MAX_REDIRECTS = 2

_logger = logging.getLogger(__name__)


class _ScrapeError(Exception):
    """A scrape that failed; `outcome` is a label value, the message says why."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@dataclass(slots=True)
class _Target:
    url: str
    shown: str
    identity: dict[str, str]
    client: HttpClient
    reader: TextReader
    families: list[ScrapedFamily] = field(default_factory=list)
    scraped: float = 0.0
    is_up: bool | None = None


class Scraper:
    """Scrapes each target on its own schedule and keeps its latest families; a `Source`.

    Every sample gets the target's `job`, `instance` (host and port) and configured labels;
    so a Prometheus that scrapes Sidelight sets `honor_labels: true`. A target that is slow or dead
    delays no other, is said by `up`, and its families go after three intervals.

    Raises `ConfigError` if two targets could not be told apart.
    """

    def __init__(
        self,
        config: Scrape,
        registry: Registry,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._scrapes = registry.counter(conventions.COLLECTOR_SCRAPES, ("target", "outcome"))
        self._targets: list[_Target] = []
        self.switch(config, self.prepare(config))

    def prepare(self, config: Scrape) -> list[_Target]:
        """The targets of a configuration; those that are as they were keep what they said.

        Raises `ConfigError` if two could not be told apart.
        """
        same = {labels_text(each.identity): each for each in self._targets}
        found: dict[str, _Target] = {}
        for section in config.targets:
            target = _target(section, config)
            identity = labels_text(target.identity)
            if identity in found:
                raise ConfigError(
                    f"receivers.scrape.targets: {found[identity].shown} and {target.shown} have "
                    "the same job, instance and labels; give one a label of its own"
                )
            if identity in same and same[identity].url == target.url:
                old = same[identity]
                target.families, target.scraped, target.is_up = old.families, old.scraped, old.is_up
            found[identity] = target
        return list(found.values())

    def switch(self, config: Scrape, targets: list[_Target]) -> None:
        """Scrape what `prepare` made of the configuration, when `run` is restarted."""
        self._config = config
        self._targets = targets

    async def run(self) -> None:
        """Scrape until cancelled."""
        if not self._targets:
            return
        async with asyncio.TaskGroup() as tasks:
            for target in self._targets:
                tasks.create_task(self._repeat(target))

    def families(self) -> Iterable[AnyFamily]:
        """What the targets last said, and `up` for each that was tried."""
        oldest = self._clock() - _STALE_INTERVALS * self._config.interval_seconds
        up: list[Series] = []
        for target in self._targets:
            if target.is_up is None:
                continue
            is_stale = target.scraped < oldest
            if is_stale:
                target.families = []
            is_up = target.is_up and not is_stale  # one that hangs has not failed yet
            up.append(Series(labels_text(target.identity), NumberValue(int(is_up))))
            yield from target.families
        if up:
            meaning = conventions.METRICS[conventions.TARGET_UP].meaning
            yield Family(conventions.TARGET_UP, "gauge", meaning, up)

    async def _repeat(self, target: _Target) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._scrape(target)
            due = max(due + self._config.interval_seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _scrape(self, target: _Target) -> None:
        """One scrape; its outcome is counted, never raised."""
        try:
            text, openmetrics = await _fetch(target, self._config)
            read = partial(target.reader.read, text, openmetrics=openmetrics)
            target.families = await off_loop_if(len(text) > _MAX_TEXT_ON_LOOP, read)
            target.scraped = self._clock()
            outcome = "ok"
            if target.is_up is False:
                _logger.info("scrape of %s works again", target.shown)
        except _ScrapeError as error:
            outcome = error.outcome
            if target.is_up is not False:
                _logger.warning("scrape of %s failed: %s", target.shown, error)
        except MalformedExpositionError as error:
            outcome = "malformed"
            if target.is_up is not False:
                _logger.warning(
                    "scrape of %s: %s; is this a Prometheus endpoint?", target.shown, error
                )
        target.is_up = outcome == "ok"
        self._scrapes.labels(target.shown, outcome).inc()


def _target(target: ScrapeTarget, config: Scrape) -> _Target:
    parts = urlsplit(target.url)
    port = 443 if parts.scheme == "https" else 80
    instance = parts.netloc if parts.port else f"{parts.netloc}:{port}"
    identity = {"job": target.job, "instance": instance}
    identity |= target.labels
    # One byte more than allowed tells what is too large.
    client = HttpClient(
        f"{parts.scheme}://{parts.netloc}", config.timeout_seconds, config.max_bytes + 1
    )
    shown = target.url.partition("?")[0]  # a query may hold a token
    reader = TextReader(identity, target.families)
    return _Target(target.url, shown, identity, client, reader)


async def _fetch(target: _Target, config: Scrape) -> tuple[str, bool]:
    """The exposition's text, and whether it declares itself OpenMetrics.

    Redirects are followed on the same host only. Raises `_ScrapeError`.
    """
    url = target.url
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            answer = await target.client.get(_request_target(url), _HEADERS)
        except NoAnswerError as error:
            outcome = "timeout" if error.is_timeout else "unreachable"
            raise _ScrapeError(outcome, str(error)) from error
        try:
            elsewhere = urljoin(url, answer.headers.get("location", ""))
            is_here = _origin(elsewhere) == _origin(url)
        except ValueError as error:
            raise _ScrapeError(
                "status", "it redirects to something that is not an address"
            ) from error
        if not (300 <= answer.status < 400 and "location" in answer.headers and is_here):
            break
        url = elsewhere
    body = _checked(answer, config)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _ScrapeError("malformed", "the answer is not UTF-8") from error
    kind = answer.headers.get("content-type", "")
    return text, kind.startswith("application/openmetrics-text")


def _request_target(url: str) -> str:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return quote(target, safe=string.punctuation)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _checked(answer: Answer, config: Scrape) -> bytes:
    """The body; one that is too large, too slow, broken off or compressed unasked is refused."""
    if answer.status != 200:
        raise _ScrapeError("status", f"HTTP {answer.status}")
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise _ScrapeError("malformed", f"the answer came as {encoding}, which was not asked for")
    if answer.ending == "late":
        raise _ScrapeError("timeout", f"not complete within {config.timeout_seconds:g} s")
    if answer.ending == "broken":
        raise _ScrapeError("unreachable", "the connection broke off in the middle of the answer")
    if len(answer.body) > config.max_bytes:
        message = f"more than receivers.scrape.max_bytes ({config.max_bytes})"
        raise _ScrapeError("too_large", message)
    return answer.body
