"""OTLP/HTTP as a type of receiver."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.check import port_look
from sidelight.collector.receivers.common.http_config import HTTP_LIVE_KEYS
from sidelight.collector.receivers.common.type import CheckContext, Look, ReceiverType
from sidelight.collector.receivers.otlp_http.config import OtlpHttp
from sidelight.collector.receivers.otlp_http.receiver import build


def _looks(config: OtlpHttp, context: CheckContext) -> list[Look]:
    return [port_look("otlp_http", config, context)]


OTLP_HTTP = ReceiverType(
    name="otlp_http",
    title="OTLP/HTTP",
    Config=OtlpHttp,
    signals=lambda _: ("traces", "metrics", "logs"),
    build=build,
    looks=_looks,
    live_keys=HTTP_LIVE_KEYS | {"cors"},
    packages=("httptools",),
    page=Path(__file__).with_name("page.md"),
)
