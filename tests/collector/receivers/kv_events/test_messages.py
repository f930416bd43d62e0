"""Decoding KV events: of vLLM 0.32, of earlier versions, of later ones, and of nobody."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.collector.metrics.kv_cache.events import Cleared, Removed, Stored
from sidelight.collector.receivers.kv_events.messages import (
    EventBatch,
    MalformedEventsError,
    decode,
)
from support.fuzzing import inputs
from support.kv_publisher import CLEARED, removed, stored
from support.paths import DATA

RECORDED = DATA / "vllm" / "kv-events-0.32.jsonl"


def message(*events: Any, seconds: object = 5.0) -> bytes:
    """A message with the events."""
    return msgspec.msgpack.encode([seconds, events, 0])


def test_recorded_messages() -> None:
    """Of a real server; its block size is 128 on CPUs."""
    batches = [
        decode(msgspec.msgpack.encode(json.loads(line)["raw"]))
        for line in RECORDED.read_text().splitlines()
    ]
    events = [event for batch in batches for event in batch.events]
    assert events
    assert all(isinstance(event, Stored) and event.block_tokens == 128 for event in events)
    assert all(batch.seconds > 1.7e9 for batch in batches)


def test_each_event() -> None:
    """Without the token ids."""
    batch = decode(message(stored(1, 2, parent=7), removed(2), CLEARED))
    assert batch == EventBatch(5.0, [Stored((1, 2), 7, 16), Removed((2,)), Cleared()])


def test_events_as_lists() -> None:
    """As earlier versions write them; their number of fields grew."""
    batch = decode(
        message(
            ["BlockStored", [1, 2], None, [5, 6, 7], 16, None],
            ["BlockStored", [3], 2, [8], 16, None, "GPU", None, None, 0],
            ["BlockRemoved", [1]],
            ["BlockRemoved", [2], "GPU"],
            ["AllBlocksCleared"],
        )
    )
    assert batch.events == [
        Stored((1, 2), None, 16),
        Stored((3,), 2, 16),
        Removed((1,)),
        Removed((2,)),
        Cleared(),
    ]


def test_whole_hashes_and_their_last_64_bits_are_one_block() -> None:
    """VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES says which of them vLLM sends."""
    whole = bytes(range(32))
    (as_bytes,) = decode(message(stored(whole, parent=whole))).events
    number = int.from_bytes(whole, "big") & ((1 << 64) - 1)
    assert [as_bytes] == decode(message(stored(number, parent=number))).events


def test_groups_have_blocks_of_their_own() -> None:
    """Hybrid models cache the same tokens once for each group of layers."""
    first, second = decode(message(stored(1), stored(1, group_idx=1))).events
    assert isinstance(first, Stored)
    assert isinstance(second, Stored)
    assert first.blocks != second.blocks


def test_only_blocks_on_the_device() -> None:
    """A connector reports those in CPU memory and on disks too."""
    batch = decode(message(stored(1, medium="CPU"), removed(1, medium="STORAGE"), stored(2)))
    assert batch.events == [Stored((2,), None, 16)]


@pytest.mark.parametrize("of_later_version", [{"type": "BlockMoved", "to": [1]}, ["BlockMoved", 1]])
def test_unknown_events_are_left_out(of_later_version: object) -> None:
    """The others count."""
    assert decode(message(of_later_version, stored(2))).events == [Stored((2,), None, 16)]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x91" * 10_000,
        message(seconds="now"),
        message(seconds=float("nan")),
        message(seconds=float("inf")),
        message(seconds=1.7e308),
        message(seconds=-1.7e308),
        message(seconds=-1.0),
        message({"no": "type"}),
        message({"type": "BlockStored"}),
        message(stored("text")),  # type: ignore[arg-type]
        message(stored(bytes(65))),
        message(stored(1, tokens=0)),
        message(stored(1, block_size=1 << 40)),
        message(7),
        msgspec.msgpack.encode({"ts": 1.0}),
        # A text that is not UTF-8.
        b"\x93\xcb\x40\x14\x00\x00\x00\x00\x00\x00\x91\x81\xa4type\xa2\xff\xfe\x00",
    ],
)
def test_what_is_malformed(payload: bytes) -> None:
    """Without a word of it in the message, which may be logged."""
    with pytest.raises(MalformedEventsError, match=r"^(not a batch of KV events|its time .*)$"):
        decode(payload)


_VALID = message(stored(1, 2, parent=7), removed(2), CLEARED)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=9)
    | st.sampled_from(["BlockStored", "BlockRemoved", "AllBlocksCleared", "GPU"]),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from([*stored(1), "type", "x"]), inner, max_size=8)
    ),
)


@inputs(300, 0.05)
@given(
    st.one_of(
        st.binary(max_size=60),
        _VALUES.map(msgspec.msgpack.encode),
        st.lists(_VALUES, max_size=4).map(lambda events: message(*events)),
        st.tuples(st.integers(0, len(_VALID)), st.binary(max_size=4)).map(
            lambda change: _VALID[: change[0]] + change[1] + _VALID[change[0] + 1 :]
        ),
    )
)
def test_any_bytes(payload: bytes) -> None:
    """Are events, or are refused by name."""
    try:
        batch = decode(payload)
    except MalformedEventsError:
        return
    for event in batch.events:
        if isinstance(event, Stored | Removed):
            assert all(0 <= block < 1 << 64 for block in event.blocks)
