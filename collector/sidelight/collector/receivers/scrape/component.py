"""Scraping as a type of receiver."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.type import ALL_KEYS, ReceiverType
from sidelight.collector.receivers.scrape.check import looks
from sidelight.collector.receivers.scrape.config import Scrape
from sidelight.collector.receivers.scrape.receiver import ScrapeReceiver


def _share(config: Scrape, worker: int, _workers: int) -> Scrape:
    """Let the first worker scrape for all."""
    return config if worker == 0 else config.model_copy(update={"targets": ()})


SCRAPE = ReceiverType(
    name="scrape",
    title="scraping",
    Config=Scrape,
    signals=lambda _: ("metrics",),
    build=ScrapeReceiver,
    looks=looks,
    live_keys=ALL_KEYS,
    share=_share,
    page=Path(__file__).with_name("page.md"),
)
