"""OTLP/gRPC as a type of receiver."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.check import port_look
from sidelight.collector.receivers.common.type import (
    CheckContext,
    Look,
    ReceiverType,
)
from sidelight.collector.receivers.otlp_grpc.config import OtlpGrpc
from sidelight.collector.receivers.otlp_grpc.receiver import OtlpGrpcReceiver


def _looks(config: OtlpGrpc, context: CheckContext) -> list[Look]:
    return [port_look("otlp_grpc", config, context)]


OTLP_GRPC = ReceiverType(
    name="otlp_grpc",
    title="OTLP/gRPC",
    Config=OtlpGrpc,
    signals=lambda _: ("traces", "metrics", "logs"),
    build=OtlpGrpcReceiver,
    looks=_looks,
    packages=("grpc",),
    page=Path(__file__).with_name("page.md"),
)
