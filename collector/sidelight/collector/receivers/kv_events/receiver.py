"""KV events as a receiver: start, stop, one task for each engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from sidelight.base.background import supervise
from sidelight.base.configuration.section import ConfigError
from sidelight.base.listening import ServiceError
from sidelight.collector.metrics.kv_cache.cache_model import CacheModel
from sidelight.collector.metrics.kv_cache.metrics import EngineCacheMetrics, KvCacheMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.type import Load
from sidelight.collector.receivers.kv_events.config import KvEvents, KvEventsSource, of_rank

if TYPE_CHECKING:
    import zmq.asyncio

    from sidelight.collector.receivers.kv_events.engine import EngineEvents
    from sidelight.collector.receivers.kv_events.sockets import EventSockets

_logger: Final = logging.getLogger(__name__)


class KvEventsReceiver:
    """Follows the caches of all configured engines while it runs.

    Raises `ConfigError` if sources are configured and pyzmq is not installed.
    """

    def __init__(self, config: KvEvents, registry: Registry) -> None:
        self._config = config
        if config.sources:
            _require_pyzmq()
            self._metrics = KvCacheMetrics(registry)
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: list[EventSockets] = []
        self._close_context: Callable[[], None] = lambda: None

    async def start(self) -> str | None:
        """Open the sockets of all engines. Returns the endpoints.

        Raises `ServiceError` if an endpoint to listen on is not available.
        """
        if not self._config.sources:
            return None
        # Here, not above: it takes 5 MB, msgspec nearly one, and few use KV events.
        import zmq.asyncio

        context = zmq.asyncio.Context()
        self._close_context = partial(context.destroy, linger=0)
        opened = [
            self._open(context, source, rank)
            for source in self._config.sources
            for rank in range(source.ranks)
        ]
        return ", ".join(opened)

    def prepare(self, config: KvEvents) -> Callable[[], None]:  # noqa: ARG002 (no live keys)
        """Nothing changes without a restart."""
        return lambda: None

    async def stop(self, timeout_seconds: float) -> None:
        """Close all sockets. Events are not stored, so nothing is left to finish."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)
        sockets, self._sockets = self._sockets, []
        for engine_sockets in sockets:
            engine_sockets.close()
        self._close_context()
        self._close_context = lambda: None

    def source(self) -> None:
        """No metrics besides those in the registry."""
        return

    def load(self) -> Load:
        """Always empty: there are no requests to answer."""
        return Load()

    def _open(self, context: zmq.asyncio.Context, source: KvEventsSource, rank: int) -> str:
        from sidelight.collector.receivers.kv_events.engine import EngineEvents
        from sidelight.collector.receivers.kv_events.sockets import EventSockets

        endpoint = of_rank(source.endpoint, rank)
        sockets = EventSockets(context, source.topic)
        self._sockets.append(sockets)
        model = CacheModel(source.blocks, self._config.max_tracked_blocks)
        metrics = EngineCacheMetrics(
            self._metrics, model, source.job, source.shown_instance, str(rank)
        )
        replay = None
        if source.replay is not None:
            replay = partial(
                sockets.replay,
                of_rank(source.replay, rank),
                timeout_seconds=self._config.replay_timeout_seconds,
            )
        events = EngineEvents(model, metrics, self._config.max_message_bytes, replay)
        # Before the sockets: a connection that comes at once is counted.
        self._run(f"monitor of {endpoint}", partial(sockets.watch, _Connections(metrics, endpoint)))
        self._run(f"KV events of {endpoint}", partial(_take_all, sockets, events))
        try:
            sockets.open(endpoint, listen=source.listen is not None)
        except OSError as error:
            raise ServiceError(
                f"cannot use {endpoint} for KV events ({error.strerror}): choose another one in "
                "receivers.kv_events.sources, and the same in vLLM's --kv-events-config"
            ) from None
        return endpoint

    def _run(self, name: str, run: Callable[[], Coroutine[None, None, None]]) -> None:
        self._tasks.append(asyncio.create_task(supervise(name, run)))


class _Connections:
    """Shows how many publishers are connected, and warns where two cannot be told apart."""

    def __init__(self, metrics: EngineCacheMetrics, endpoint: str) -> None:
        self._metrics = metrics
        self._endpoint = endpoint
        self._before = 0
        metrics.connected(0)

    def __call__(self, connections: int) -> None:
        self._metrics.connected(connections)
        if connections > 1 >= self._before:
            _logger.warning(
                "%d publishers of KV events are connected to %s, and their events cannot be told "
                "apart: give each server an endpoint of its own",
                connections,
                self._endpoint,
            )
        self._before = connections


async def _take_all(sockets: EventSockets, events: EngineEvents) -> None:
    while True:
        await events.take(await sockets.receive())
        # Messages that wait are received without a pause.
        await asyncio.sleep(0)


def _require_pyzmq() -> None:
    if find_spec("zmq") is None:
        raise ConfigError("receivers.kv_events needs pyzmq: run pip install 'sidelight[kv-events]'")
