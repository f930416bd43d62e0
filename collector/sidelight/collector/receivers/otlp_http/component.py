"""OTLP/HTTP as a type of receiver."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.check import port_look
from sidelight.collector.receivers.common.type import CheckContext, Look, ReceiverType
from sidelight.collector.receivers.otlp_http.config import OtlpHttp
from sidelight.collector.receivers.otlp_http.receiver import OtlpHttpReceiver


def _looks(config: OtlpHttp, context: CheckContext) -> list[Look]:
    return [port_look("otlp_http", config, context)]


OTLP_HTTP = ReceiverType(
    name="otlp_http",
    title="OTLP/HTTP",
    Config=OtlpHttp,
    signals=lambda _: ("traces", "metrics", "logs"),
    build=OtlpHttpReceiver,
    looks=_looks,
    live_keys=frozenset(
        {
            "body_timeout_seconds",
            "header_timeout_seconds",
            "idle_timeout_seconds",
            "max_body_bytes",
            "max_buffered_bytes",
            "max_connections",
            "max_decompressed_bytes",
        }
    ),
    packages=("httptools",),
    page=Path(__file__).with_name("page.md"),
)
