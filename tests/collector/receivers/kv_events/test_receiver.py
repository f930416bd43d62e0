"""KV events over real ZeroMQ sockets, from publishers that do what vLLM's does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidelight.base.listening import ServiceError
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.kv_events.component import KV_EVENTS
from sidelight.collector.receivers.kv_events.config import KvEvents
from sidelight.collector.receivers.kv_events.receiver import KvEventsReceiver
from support import openmetrics
from support.kv_publisher import CLEARED, KvPublisher, removed, stored
from support.ports import free_port, free_ports
from support.waiting import eventually_async

ENGINE = {"job": "vllm", "instance": "vllm:8000", "engine": "0"}


@dataclass
class Receiving:
    """A receiver and what /metrics shows of it."""

    registry: Registry

    def value(self, name: str, **labels: str) -> float:
        """The value of a series."""
        (sample,) = [
            sample
            for sample in openmetrics.samples(name, self.registry)
            if sample.labels == ENGINE | labels
        ]
        return sample.value

    def messages(self, outcome: str) -> float:
        """Messages with an outcome."""
        return self.value("sidelight_kv_events_messages_total", outcome=outcome)

    def resets(self, reason: str) -> float:
        """Resets for a reason."""
        return self.value("sidelight_kv_events_resets_total", reason=reason)

    def stored(self, kind: str) -> float:
        """Tokens stored of a kind."""
        return self.value("sidelight_kv_cache_stored_total", kind=kind)

    def extra_hits(self, size: str) -> float:
        """Tokens that a cache of a size would have kept."""
        return self.value("sidelight_kv_cache_extra_hits_total", cache_size=size)

    async def received(self, messages: int) -> None:
        """Wait until so many messages are counted."""
        await eventually_async(
            lambda: self.messages("received") == messages, f"{messages} messages"
        )


@asynccontextmanager
async def receiving(*sources: dict[str, Any], **options: Any) -> AsyncIterator[Receiving]:
    """A receiver that has started."""
    config = KvEvents.model_validate(
        {"sources": [{"instance": "vllm:8000"} | source for source in sources], **options}
    )
    registry = Registry()
    receiver = KvEventsReceiver(config, registry)
    await receiver.start()
    try:
        yield Receiving(registry)
    finally:
        await receiver.stop(5.0)


@asynccontextmanager
async def publishing(
    endpoint: str, *, bind: bool = False, replay: str | None = None
) -> AsyncIterator[KvPublisher]:
    """A publisher that the receiver has subscribed to."""
    publisher = KvPublisher(endpoint, bind=bind, replay=replay)
    try:
        await publisher.subscribed()
        yield publisher
    finally:
        publisher.close()


def loopback() -> str:
    """An endpoint that nothing uses."""
    return f"tcp://127.0.0.1:{free_port()}"


async def fill_and_repeat(publisher: KvPublisher) -> None:
    """Store two blocks, evict them, store them again."""
    await publisher.publish(stored(1, 2))
    await publisher.publish(removed(2), removed(1), stored(3, 4))
    await publisher.publish(stored(1, 2))


class TestEndpoints:
    async def test_vllm_connects_to_an_address(self) -> None:
        """And the receiver listens."""
        endpoint = loopback()
        async with receiving({"listen": endpoint, "blocks": 2}) as got:
            async with publishing(endpoint) as publisher:
                await fill_and_repeat(publisher)
                await got.received(3)
                await eventually_async(
                    lambda: got.value("sidelight_kv_events_connections") == 1, "the connection"
                )
            assert got.stored("new") == 4 * 16
            assert got.stored("again") == 2 * 16
            assert got.extra_hits("1.25") == 0
            assert got.extra_hits("2") == got.extra_hits("4") == 2 * 16
            assert got.value("sidelight_kv_cache_evicted_total") == 2
            assert got.value("sidelight_kv_cache_capacity") == 2
            assert got.value("sidelight_kv_cache_block_lifetime_seconds_sum") == 2.0
            assert got.value("sidelight_kv_cache_block_absence_seconds_sum") == 2.0
            assert got.value("sidelight_kv_cache_extra_hits_complete", cache_size="4") == 1
            await eventually_async(
                lambda: got.value("sidelight_kv_events_connections") == 0, "the end to be seen"
            )

    async def test_vllm_listens_on_every_interface(self, tmp_path: Path) -> None:
        """And the receiver connects; on a Unix socket too."""
        for endpoint in (loopback(), f"ipc://{tmp_path}/events"):
            async with (
                receiving({"connect": endpoint}) as got,
                publishing(endpoint, bind=True) as publisher,
            ):
                await fill_and_repeat(publisher)
                await got.received(3)

    async def test_each_rank_has_a_port(self) -> None:
        """Counted up from the first, as vLLM does."""
        first = free_ports(2)
        second = f"tcp://127.0.0.1:{first + 1}"
        source = {"listen": f"tcp://127.0.0.1:{first}", "ranks": 2}
        async with receiving(source) as got, publishing(second) as publisher:
            await publisher.publish(stored(1))
            await eventually_async(
                lambda: any(
                    sample.value == 16
                    for sample in openmetrics.samples(
                        "sidelight_kv_cache_stored_total", got.registry
                    )
                    if sample.labels["engine"] == "1"
                ),
                "the second rank",
            )
            assert got.stored("new") == 0

    async def test_a_port_in_use_is_told(self) -> None:
        """With what to do."""
        endpoint = loopback()
        async with receiving({"listen": endpoint}):
            with pytest.raises(ServiceError, match=r"in use.*choose another one in receivers"):
                async with receiving({"listen": endpoint}):
                    pass

    async def test_two_publishers_on_one_endpoint(self, caplog: pytest.LogCaptureFixture) -> None:
        """Their numbers would be taken for gaps."""
        endpoint = loopback()
        with caplog.at_level(logging.WARNING):
            async with receiving({"listen": endpoint}), publishing(endpoint), publishing(endpoint):
                await eventually_async(
                    lambda: "give each server an endpoint of its own" in caplog.text, "a warning"
                )

    async def test_only_messages_of_the_topic(self) -> None:
        """Others are not received at all."""
        endpoint = loopback()
        async with (
            receiving({"listen": endpoint, "topic": "kv"}) as got,
            publishing(endpoint) as publisher,
        ):
            payload = msgspec.msgpack.encode([1.0, [stored(1)], 0])
            await publisher.send_frames(b"other", bytes(8), payload)
            await publisher.send_frames(b"kv@7", bytes(8), payload)
            await got.received(1)
            assert got.stored("new") == 16


class TestMissingMessages:
    async def test_a_gap_is_counted_and_the_estimate_begins_again(self) -> None:
        """Instead of guessing what was lost."""
        endpoint = loopback()
        async with (
            receiving({"listen": endpoint, "blocks": 2}) as got,
            publishing(endpoint) as publisher,
        ):
            await publisher.publish(stored(1, 2))
            publisher.skip(removed(2), removed(1))
            publisher.skip(stored(3, 4))
            await publisher.publish(stored(1, 2))
            await got.received(2)
            assert got.messages("lost") == 2
            assert got.resets("gap") == 1
            assert got.value("sidelight_kv_cache_extra_hits_complete", cache_size="2") == 0
            assert got.stored("again") == 0
            await publisher.publish(removed(2), removed(1), stored(5))
            await got.received(3)
            assert got.value("sidelight_kv_cache_extra_hits_complete", cache_size="2") == 1
            assert got.value("sidelight_kv_cache_extra_hits_complete", cache_size="4") == 0

    async def test_lost_messages_are_replayed(self) -> None:
        """In their place, before the message that told of the gap."""
        endpoint, replay = loopback(), loopback()
        async with (
            receiving(
                {"listen": endpoint, "replay": replay, "blocks": 2}, replay_timeout_seconds=60
            ) as got,
            publishing(endpoint, replay=replay) as publisher,
        ):
            # The very first ones, sent before anybody was there, as well.
            publisher.skip(stored(1, 2))
            await publisher.publish(removed(2), removed(1))
            publisher.skip(stored(3, 4))
            await publisher.publish(stored(1, 2))
            await got.received(2)
            assert got.messages("replayed") == 2
            assert got.messages("lost") == 0
            assert got.stored("again") == 2 * 16
            assert got.extra_hits("2") == 2 * 16

    async def test_what_is_replayed_in_part(self) -> None:
        """The publisher keeps the newest only."""
        endpoint, replay = loopback(), loopback()
        async with (
            receiving({"listen": endpoint, "replay": replay}, replay_timeout_seconds=60) as got,
            publishing(endpoint, replay=replay) as publisher,
        ):
            await publisher.publish(stored(1))
            for block in range(150):
                publisher.skip(stored(block))
            await publisher.publish(stored(500))
            await got.received(2)
            # The last one is in the publisher's memory of 100 messages too.
            assert got.messages("replayed") == 99
            assert got.messages("lost") == 51
            assert got.resets("gap") == 1

    async def test_nobody_replays(self) -> None:
        """Then they are lost; the receiver goes on."""
        endpoint = loopback()
        async with (
            receiving(
                {"listen": endpoint, "replay": loopback()}, replay_timeout_seconds=0.2
            ) as got,
            publishing(endpoint) as publisher,
        ):
            publisher.skip(stored(1))
            await publisher.publish(stored(2))
            await got.received(1)
            assert got.resets("joined") == 1
            await publisher.publish(stored(3))
            await got.received(2)

    async def test_a_restarted_server_has_an_empty_cache(self) -> None:
        """Whose blocks do not come back."""
        endpoint = loopback()
        async with receiving({"listen": endpoint}) as got:
            for turn in (1, 2):
                async with publishing(endpoint) as publisher:
                    await publisher.publish(stored(1, 2))
                    await publisher.publish(stored(3, 4))
                    await got.received(2 * turn)
            assert got.resets("restart") == 1
            assert got.stored("new") == 8 * 16
            assert got.value("sidelight_kv_cache_extra_hits_complete", cache_size="4") == 1

    async def test_a_cleared_cache(self) -> None:
        """Counted, and known to be empty."""
        endpoint = loopback()
        async with receiving({"listen": endpoint}) as got, publishing(endpoint) as publisher:
            await publisher.publish(stored(1), CLEARED)
            await publisher.publish(stored(1))
            await got.received(2)
            assert got.resets("cleared") == 1
            assert got.stored("new") == 2 * 16


class TestHostileMessages:
    async def test_what_is_malformed_is_as_good_as_lost(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Counted, not logged: it may contain a prompt."""
        endpoint = loopback()
        with caplog.at_level(logging.DEBUG):
            async with receiving({"listen": endpoint}) as got, publishing(endpoint) as publisher:
                await publisher.publish(stored(1))
                await publisher.send_frames(b"")
                await publisher.send_frames(b"", b"short", b"wombatology")
                publisher.skip()
                await publisher.send(b"wombatology")
                await publisher.publish(stored(2))
                await got.received(3)
                assert got.messages("malformed") == 3
                assert got.value("sidelight_kv_cache_extra_hits_complete", cache_size="2") == 0
        assert "wombatology" not in caplog.text

    async def test_a_message_that_is_too_large(self) -> None:
        """Is not decoded; the next one is."""
        endpoint = loopback()
        async with (
            receiving({"listen": endpoint}, max_message_bytes=1024) as got,
            publishing(endpoint) as publisher,
        ):
            await publisher.publish(stored(*range(1000)))
            await publisher.publish(stored(2))
            await got.received(2)
            assert got.messages("malformed") == 1
            assert got.stored("new") == 16

    async def test_a_large_batch_is_counted(self) -> None:
        """Off the event loop, with the same result."""
        endpoint = loopback()
        async with receiving({"listen": endpoint}) as got, publishing(endpoint) as publisher:
            await publisher.publish(stored(*range(2000)))
            await got.received(1)
            await eventually_async(lambda: got.stored("new") == 2000 * 16, "all blocks")


def test_workers_share_one_receiver() -> None:
    """The events of an engine belong together."""
    config = KvEvents.model_validate({"sources": [{"listen": "tcp://127.0.0.1:5557"}]})
    assert KV_EVENTS.share(config, 0, 2) == config
    shared = KV_EVENTS.share(config, 1, 2)
    assert isinstance(shared, KvEvents)
    assert shared.sources == ()


async def test_without_sources_nothing_is_opened() -> None:
    """And no metric of it is shown."""
    registry = Registry()
    receiver = KvEventsReceiver(KvEvents(), registry)
    assert await receiver.start() is None
    assert not [family for family in registry.families() if "kv" in family.name]
    await receiver.stop(1.0)
