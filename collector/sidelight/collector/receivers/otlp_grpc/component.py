"""OTLP/gRPC as a type of receiver. gRPC's library takes 10 MB, so it is imported when needed."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.check import port_look
from sidelight.collector.receivers.common.type import (
    CheckContext,
    Look,
    Receiver,
    ReceiverContext,
    ReceiverType,
)
from sidelight.collector.receivers.otlp_grpc.config import OtlpGrpc


def _build(config: OtlpGrpc, context: ReceiverContext) -> Receiver:
    from sidelight.collector.receivers.otlp_grpc.receiver import OtlpGrpcReceiver

    return OtlpGrpcReceiver(config, context)


def _looks(config: OtlpGrpc, context: CheckContext) -> list[Look]:
    return [port_look("otlp_grpc", config, context)]


OTLP_GRPC = ReceiverType(
    name="otlp_grpc",
    title="OTLP/gRPC",
    Config=OtlpGrpc,
    signals=lambda _: ("traces", "metrics", "logs"),
    build=_build,
    looks=_looks,
    packages=("grpc",),
    page=Path(__file__).with_name("page.md"),
)
