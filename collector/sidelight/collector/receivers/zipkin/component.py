"""Zipkin as a type of receiver."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.check import port_look
from sidelight.collector.receivers.common.http_config import HTTP_LIVE_KEYS
from sidelight.collector.receivers.common.type import CheckContext, Look, ReceiverType
from sidelight.collector.receivers.zipkin.config import Zipkin
from sidelight.collector.receivers.zipkin.receiver import build


def _looks(config: Zipkin, context: CheckContext) -> list[Look]:
    return [port_look("zipkin", config, context)]


ZIPKIN = ReceiverType(
    name="zipkin",
    title="Zipkin",
    Config=Zipkin,
    signals=lambda _: ("traces",),
    build=build,
    looks=_looks,
    live_keys=HTTP_LIVE_KEYS,
    packages=("httptools",),
    page=Path(__file__).with_name("page.md"),
)
