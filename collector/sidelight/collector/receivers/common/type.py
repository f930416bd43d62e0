"""The interface of a type of receiver: name, configuration, how to build and check it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sidelight.base.auth.guard import CredentialSource
from sidelight.base.budget import MemoryPool
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
    """The current load of a receiver: bytes of requests under way, and open connections."""

    buffered_bytes: int = 0
    connections: int = 0


class Receiver(Protocol):
    """A built receiver."""

    async def start(self) -> str | None:
        """Start to receive. Returns the address it listens on, for the log, or None.

        Raises `ServiceError` if the address is not available.
        """

    def prepare(self, config: Any) -> Callable[[], None]:
        """For a reload: a function that applies the live keys of `config` and cannot fail.

        Raises `ConfigError`; nothing has changed then.
        """

    async def stop(self, timeout_seconds: float) -> None:
        """Accept nothing new, and let requests under way finish.

        It may be called twice, and after a `start` that failed.
        """

    def source(self) -> Source | None:
        """Metrics to show on /metrics besides the collector's own."""

    def load(self) -> Load:
        """The current load."""


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """The parts of the collector that a receiver uses.

    `memory` is what all receivers together hold of requests under way. `requests` counts by
    protocol and outcome, `failed_handshake` by listener and fault. `shares_port`: other processes
    listen on the same port. `http_apis` are served on the port of OTLP/HTTP.
    """

    intake: Intake
    registry: Registry
    admission: Admission
    requests: Counter
    failed_handshake: Callable[[str, HandshakeFault], None]
    memory: MemoryPool = field(default_factory=MemoryPool)
    shares_port: bool = False
    http_apis: Sequence[HttpApi] = ()


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What the doctor knows when it checks a receiver.

    `is_running`: a Sidelight with this configuration is running. `exposition`: its /metrics, if
    readable.
    """

    timeout_seconds: float
    is_running: bool = False
    exposition: Answer | None = None


ALL_KEYS = frozenset({"*"})
"""The `live_keys` of a receiver that a reload can change as a whole."""

Look = tuple[str, Callable[[], Awaitable[Check]]]
"""The name of a check, and the function that makes it. Checks run concurrently on one loop."""


@dataclass(frozen=True, slots=True)
class ReceiverType:
    """One type of receiver. The callables take an instance of `Config`.

    - `name`: the key below `receivers` in sidelight.yaml, and the name of the folder.
    - `title`: the name in log lines.
    - `looks`: the doctor's checks.
    - `page`: the folder's page of documentation.
    - `build`: raises `ConfigError` for faults that only building shows. None for a receiver that
      only adds its `http_api` to the OTLP/HTTP port.
    - `credentials`: its own, besides the tokens in `auth`.
    - `live_keys`: the keys that a reload applies.
    - `share`: adapts a configuration to one of several workers (worker, workers).
    - `packages`: packages that must be importable.
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
