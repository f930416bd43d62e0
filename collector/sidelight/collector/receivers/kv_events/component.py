"""KV events as a type of receiver."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.type import ReceiverType
from sidelight.collector.receivers.kv_events.check import looks
from sidelight.collector.receivers.kv_events.config import KvEvents
from sidelight.collector.receivers.kv_events.receiver import KvEventsReceiver


def _share(config: KvEvents, worker: int, _workers: int) -> KvEvents:
    """Let the first worker read for all: the events of an engine belong together."""
    return config if worker == 0 else config.model_copy(update={"sources": ()})


KV_EVENTS = ReceiverType(
    name="kv_events",
    title="KV events",
    Config=KvEvents,
    signals=lambda _: ("metrics",),
    build=lambda config, context: KvEventsReceiver(config, context.registry),
    looks=looks,
    share=_share,
    page=Path(__file__).with_name("page.md"),
)
