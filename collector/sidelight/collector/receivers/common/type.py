"""What a type of receiver is: its name, its configuration, and how to build and check it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sidelight.base.auth.guard import CredentialSource
from sidelight.base.check import Check
from sidelight.base.http_client.client import Answer
from sidelight.base.http_server import HandshakeFault
from sidelight.collector.ingest.intake import Intake
from sidelight.collector.metrics.family import Source
from sidelight.collector.metrics.instruments import Counter
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.admission import Admission
from sidelight.collector.receivers.common.config import ReceiverConfig
from sidelight.collector.receivers.common.http_api import HttpApi
from sidelight.otlp.signals import Signal


@dataclass(frozen=True, slots=True)
class Load:
    """What a receiver holds now: bytes of requests under way, and open connections."""

    buffered_bytes: int = 0
    connections: int = 0


class Receiver(Protocol):
    """A built receiver."""

    async def start(self) -> str | None:
        """Begin to receive; returns where it listens, for the log, or None.

        Raises `ServiceError` if its address cannot be had.
        """

    def prepare(self, config: Any) -> Callable[[], None]:
        """For a reload: what applies the live keys of `config`, and cannot fail.

        Raises `ConfigError`; then nothing has changed.
        """

    async def stop(self, timeout_seconds: float) -> None:
        """Take nothing new and let requests under way finish."""

    def source(self) -> Source | None:
        """Families to show on /metrics besides the collector's own."""

    def load(self) -> Load:
        """What it holds now."""


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """What a receiver may use.

    `requests` counts by protocol and outcome. `failed_handshake` counts for a listener.
    With `shares_port` other processes listen on the same port. `http_apis` are the APIs that
    share the port of OTLP/HTTP.
    """

    intake: Intake
    registry: Registry
    admission: Admission
    requests: Counter
    failed_handshake: Callable[[str, HandshakeFault], None]
    shares_port: bool = False
    http_apis: Sequence[HttpApi] = ()


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What the doctor knows when it checks a receiver.

    `is_running`: a Sidelight with this configuration runs. `exposition`: its /metrics, if it
    can be read.
    """

    timeout_seconds: float
    is_running: bool = False
    exposition: Answer | None = None


ALL_KEYS = frozenset({"*"})
"""The `live_keys` of a receiver that a reload changes as a whole."""

Look = tuple[str, Callable[[], Awaitable[Check]]]
"""A name and a check to make under it; looks run at the same time, on one event loop."""


@dataclass(frozen=True, slots=True)
class ReceiverType:
    """One type of receiver; the callables take an instance of `Config`.

    `name` is the key below `receivers` in sidelight.yaml, and the folder's name; `title` is
    for log lines. `build` raises `ConfigError` for what only shows then; it is None for a
    receiver that only adds its `http_api` to the OTLP/HTTP port. `looks` are the doctor's.
    `credentials`: who may send besides the tokens in `auth`. `live_keys` change on a reload.
    `share` adapts a configuration to one of several workers: worker, workers. `packages` must
    be importable. `page` is the folder's page of documentation.
    """

    name: str
    title: str
    Config: type[ReceiverConfig]
    signals: Callable[[Any], tuple[Signal, ...]]
    looks: Callable[[Any, CheckContext], list[Look]]
    page: Path
    build: Callable[[Any, ReceiverContext], Receiver] | None = None
    http_api: HttpApi | None = None
    credentials: Callable[[Any], CredentialSource | None] = lambda _: None
    live_keys: frozenset[str] = frozenset()
    share: Callable[[Any, int, int], ReceiverConfig] = lambda config, _worker, _workers: config
    packages: tuple[str, ...] = ()
