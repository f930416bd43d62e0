"""Scrapes the metrics of vLLM and databases, to serve them again on /metrics."""

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

# Only the text format: for OpenMetrics without `escaping=allow-utf-8`, vLLM's prometheus_client
# writes `vllm_x` instead of `vllm:x`.
_ACCEPT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
# A new connection each time: servers close idle ones before the next scrape, some in that moment.
_HEADERS = {"Accept": _ACCEPT, "Accept-Encoding": "identity", "Connection": "close"}

# A target that stops answering is shown for this number of intervals. One failed scrape must not
# make its series disappear.
_STALE_INTERVALS = 3
# At 13 ns a character, 1.7 ms.
_MAX_TEXT_ON_LOOP = 128 * 1024
_MAX_REDIRECTS = 2

_logger = logging.getLogger(__name__)


class _ScrapeError(Exception):
    """A failed scrape. `outcome` is a label value; the message says why."""

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
    is_logged: bool = False
    """Whether samples that cannot be shown have been logged."""


class Scraper:
    """Scrapes each target on its own schedule and keeps its latest metrics; a `Source`.

    Every sample gets the target's `job`, `instance` (host and port) and configured labels, so a
    Prometheus that scrapes Sidelight must set `honor_labels: true`. A slow or dead target does
    not delay others. `up` shows it, and its metrics disappear after three intervals.

    Raises `ConfigError` if two targets have the same labels.
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
        self._dropped = registry.counter(
            conventions.COLLECTOR_SCRAPE_SAMPLES_DROPPED, ("target", "reason")
        )
        self._targets: list[_Target] = []
        self.switch(config, self.prepare(config))

    def prepare(self, config: Scrape) -> list[_Target]:
        """The targets of a configuration. Unchanged ones keep their metrics.

        Raises `ConfigError` if two have the same labels.
        """
        present = {labels_text(target.identity): target for target in self._targets}
        targets: dict[str, _Target] = {}
        for section in config.targets:
            target = _target(section, config)
            identity = labels_text(target.identity)
            # Their series would overwrite each other.
            if identity in targets:
                raise ConfigError(
                    f"receivers.scrape.targets: {targets[identity].shown} and {target.shown} have "
                    "the same job, instance and labels; give one of them another label"
                )
            if identity in present and present[identity].url == target.url:
                old = present[identity]
                target.families, target.scraped, target.is_up = old.families, old.scraped, old.is_up
            targets[identity] = target
        return list(targets.values())

    def switch(self, config: Scrape, targets: list[_Target]) -> None:
        """Use the targets that `prepare` returned, once `run` is restarted."""
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
        """The latest metrics of the targets, and `up` for each target that was tried."""
        oldest = self._clock() - _STALE_INTERVALS * self._config.interval_seconds
        tried = [target for target in self._targets if target.is_up is not None]
        up: list[Series] = []
        for target in tried:
            is_stale = target.scraped < oldest
            if is_stale:
                target.families = []
            is_up = target.is_up and not is_stale  # a scrape that hangs has not failed yet
            up.append(Series(labels_text(target.identity), NumberValue(int(bool(is_up)))))
        if up:
            # First, so that no target's metric of that name and another type hides it.
            meaning = conventions.METRICS[conventions.TARGET_UP].meaning
            yield Family(conventions.TARGET_UP, "gauge", meaning, up)
        for target in tried:
            yield from target.families

    async def _repeat(self, target: _Target) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._scrape(target)
            # After a slow scrape, missed ones are skipped instead of made up for.
            due = max(due + self._config.interval_seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _scrape(self, target: _Target) -> None:
        """Scrape once. Counts the outcome; raises nothing."""
        try:
            text, openmetrics = await _fetch(target, self._config)
            read = partial(target.reader.read, text, openmetrics=openmetrics)
            target.families = await off_loop_if(len(text) > _MAX_TEXT_ON_LOOP, read)
            target.scraped = self._clock()
            self._note_dropped(target)
            outcome = "ok"
            if target.is_up is False:
                _logger.info("scraping %s works again", target.shown)
        except _ScrapeError as error:
            outcome = error.outcome
            # Logged when it starts to fail, not at every scrape.
            if target.is_up is not False:
                _logger.warning("scraping %s failed: %s", target.shown, error)
        except MalformedExpositionError as error:
            outcome = "malformed"
            if target.is_up is not False:
                _logger.warning(
                    "scraping %s failed: %s; check that the URL serves Prometheus metrics",
                    target.shown,
                    error,
                )
        target.is_up = outcome == "ok"
        self._scrapes.labels(target.shown, outcome).inc()

    def _note_dropped(self, target: _Target) -> None:
        """Count the samples that were left out, and log a target's first."""
        dropped = target.reader.dropped
        for reason, samples in dropped.items():
            self._dropped.labels(target.shown, reason).inc(samples)
        if dropped and not target.is_logged:
            target.is_logged = True
            _logger.warning(
                "%d samples of %s cannot be shown (%s); correct them in the target",
                dropped.total(),
                target.shown,
                ", ".join(sorted(dropped)),
            )


def _target(target: ScrapeTarget, config: Scrape) -> _Target:
    parts = urlsplit(target.url)
    # As Prometheus does: `instance` always has a port.
    port = 443 if parts.scheme == "https" else 80
    instance = parts.netloc if parts.port else f"{parts.netloc}:{port}"
    identity = {"job": target.job, "instance": instance}
    identity |= target.labels
    # One byte more than allowed shows that an answer is too large.
    client = target.http_client(
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
    # Starlette, for instance, redirects /metrics to /metrics/.
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            answer = await target.client.get(_request_target(url), _HEADERS)
        except NoAnswerError as error:
            outcome = "timeout" if error.is_timeout else "unreachable"
            raise _ScrapeError(outcome, str(error)) from error
        try:
            elsewhere = urljoin(url, answer.headers.get("location", ""))
            # Another host is not a configured target, and the URL may hold a token.
            is_here = _origin(elsewhere) == _origin(url)
        except ValueError as error:
            raise _ScrapeError("status", "it redirects to an invalid URL") from error
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
    # A configured URL may have characters that a request line must not have.
    return quote(target, safe=string.punctuation)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _checked(answer: Answer, config: Scrape) -> bytes:
    """The body. Raises `_ScrapeError` if it is too large, incomplete or compressed."""
    if answer.status != 200:
        raise _ScrapeError("status", f"HTTP {answer.status}")
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise _ScrapeError(
            "malformed", f"the answer is compressed ({encoding}), despite the request"
        )
    if answer.ending == "late":
        raise _ScrapeError(
            "timeout", f"the answer is incomplete after {config.timeout_seconds:g} s"
        )
    if answer.ending == "broken":
        raise _ScrapeError("unreachable", "the connection was closed in the middle of the answer")
    if len(answer.body) > config.max_bytes:
        message = f"the answer is larger than receivers.scrape.max_bytes ({config.max_bytes})"
        raise _ScrapeError("too_large", message)
    return answer.body
