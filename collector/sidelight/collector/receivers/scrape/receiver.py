"""The scraper as a receiver: start, reload, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidelight.base.background import supervise
from sidelight.collector.metrics.family import Source
from sidelight.collector.receivers.common.type import Load, ReceiverContext
from sidelight.collector.receivers.scrape.config import Scrape
from sidelight.collector.receivers.scrape.scraper import Scraper


class ScrapeReceiver:
    """Scrapes the configured targets while it runs.

    Raises `ConfigError` if two targets have the same labels.
    """

    def __init__(self, config: Scrape, context: ReceiverContext) -> None:
        self._scraper = Scraper(config, context.registry)
        self._config = config
        self._scraping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to scrape in the background."""
        self._restart()

    def prepare(self, config: Scrape) -> Callable[[], None]:
        """For a reload: a function that switches to the targets of `config`.

        Unchanged targets keep their samples.
        """
        targets = self._scraper.prepare(config)

        def apply() -> None:
            if config != self._config:
                self._config = config
                self._scraper.switch(config, targets)
                self._restart()

        return apply

    async def stop(self, timeout_seconds: float) -> None:
        """Stop scraping. A scrape under way is cancelled."""
        if self._scraping is not None:
            self._scraping.cancel()
            await asyncio.wait([self._scraping], timeout=timeout_seconds)

    def source(self) -> Source:
        """The metrics of the targets."""
        return self._scraper

    def load(self) -> Load:
        """Always empty: scraping has no requests to answer."""
        return Load()

    def _restart(self) -> None:
        if self._scraping is not None:
            self._scraping.cancel()
        self._scraping = asyncio.create_task(supervise("scraper", self._scraper.run))
