"""What the configuration of KV events refuses, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.kv_events import receiver
from sidelight.collector.receivers.kv_events.config import KvEvents, of_rank

LISTEN = "tcp://127.0.0.1:5557"


def configured(*sources: dict[str, Any]) -> KvEvents:
    """A configuration with the sources."""
    return KvEvents.model_validate({"sources": sources})


@pytest.mark.parametrize(
    "source",
    [
        {"listen": LISTEN, "replay": "tcp://127.0.0.1:5558"},
        {"listen": "tcp://[::1]:5557"},
        {"connect": "tcp://localhost:5557"},
        {"connect": "ipc:///run/vllm/events"},
        {"connect": "tcp://10.0.0.7:5557", "allow_remote": True},
        {"listen": LISTEN, "replay": "tcp://127.0.0.1:5561", "ranks": 4},
    ],
)
def test_what_is_accepted(source: dict[str, Any]) -> None:
    """As the page describes it."""
    assert configured(source).sources[0].endpoint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "set either listen or connect"),
        ({"listen": LISTEN, "connect": LISTEN}, "set either listen or connect"),
        ({"listen": "tcp://0.0.0.0:5557"}, r"not on this machine.*set allow_remote: true"),
        ({"connect": "tcp://vllm:5557"}, r"not on this machine.*set allow_remote: true"),
        ({"listen": LISTEN, "replay": "tcp://10.0.0.7:1"}, "replay is not on this machine"),
        ({"listen": "tcp://*:5557"}, r"must be tcp://HOST:PORT or ipc://PATH"),
        ({"listen": "udp://127.0.0.1:5557"}, r"must be tcp://HOST:PORT or ipc://PATH"),
        ({"listen": "tcp://127.0.0.1:x"}, r"must be tcp://HOST:PORT or ipc://PATH"),
        ({"listen": "tcp://127.0.0.1"}, r"must be tcp://HOST:PORT or ipc://PATH"),
        ({"connect": "ipc:///run/events", "ranks": 2}, "with several ranks it must be tcp://"),
        ({"listen": "tcp://127.0.0.1:65535", "ranks": 2}, "choose a lower one"),
        (
            {"listen": LISTEN, "replay": "tcp://127.0.0.1:5558", "ranks": 2},
            "leave room for all ranks",
        ),
    ],
)
def test_what_is_refused(source: dict[str, Any], message: str) -> None:
    """Each with what to do."""
    with pytest.raises(ValidationError, match=message):
        configured(source)


def test_sources_are_told_apart() -> None:
    """By their labels, and by their ports."""
    other = {"listen": "tcp://127.0.0.1:6000"}
    with pytest.raises(ValidationError, match="same job and instance; set instance"):
        configured({"listen": LISTEN, "instance": "a"}, other | {"instance": "a"})
    with pytest.raises(ValidationError, match="listen on the same port"):
        configured({"listen": LISTEN, "ranks": 2}, {"listen": "tcp://127.0.0.1:5558"})


def test_ports_count_up_from_rank_0() -> None:
    """As in vLLM's `offset_endpoint_port`."""
    assert of_rank("tcp://127.0.0.1:5557", 3) == "tcp://127.0.0.1:5560"
    assert of_rank("ipc:///run/events", 0) == "ipc:///run/events"


def test_pyzmq_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Needed with sources alone."""
    monkeypatch.setattr(receiver, "find_spec", lambda _: None)
    receiver.KvEventsReceiver(KvEvents(), Registry())
    with pytest.raises(ConfigError, match=r"run pip install 'sidelight\[kv-events\]'"):
        receiver.KvEventsReceiver(configured({"listen": LISTEN}), Registry())
