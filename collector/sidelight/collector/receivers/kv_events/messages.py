"""Decodes vLLM's KV events: MessagePack, `[seconds, events, rank]`.

Token ids, LoRA names and session ids are skipped while decoding: no object is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw, Struct

from sidelight.collector.metrics.kv_cache.events import CacheEvent, Cleared, Removed, Stored

_Hash = int | bytes
# Of SHA-256. vLLM sends 64 bits of it unless VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES=0.
_MAX_HASH_BYTES: Final = 64
_KEY_BITS: Final = (1 << 64) - 1
# Blocks of different groups may have equal hashes and are different blocks.
_GROUP_STEP: Final = 0x9E3779B97F4A7C15
# In the year 2106. Differences of larger times would spoil the sums of a histogram for good.
_MAX_SECONDS: Final = 1 << 32
_MAX_BLOCK_TOKENS: Final = 1 << 20
# Blocks on the device. Older versions do not name the medium.
_DEVICE: Final = (None, "GPU")
_NOTHING: Final = Raw(b"\xc0")


class MalformedEventsError(Exception):
    """A message that is not a batch of KV events. The message has no content of it."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The events of one engine step; `seconds` is its time since the epoch."""

    seconds: float
    events: list[CacheEvent]


class _Stored(Struct, tag="BlockStored", frozen=True):
    block_hashes: list[_Hash]
    parent_block_hash: _Hash | None
    block_size: int
    medium: str | None = None
    group_idx: int | None = None


class _Removed(Struct, tag="BlockRemoved", frozen=True):
    block_hashes: list[_Hash]
    medium: str | None = None
    group_idx: int | None = None


class _Cleared(Struct, tag="AllBlocksCleared", frozen=True):
    pass


class _ListedStored(Struct, tag="BlockStored", array_like=True, frozen=True):
    block_hashes: list[_Hash]
    parent_block_hash: _Hash | None
    token_ids: Raw
    block_size: int
    lora_id: Raw = _NOTHING
    medium: str | None = None
    lora_name: Raw = _NOTHING
    extra_keys: Raw = _NOTHING
    group_idx: int | None = None


class _ListedRemoved(Struct, tag="BlockRemoved", array_like=True, frozen=True):
    block_hashes: list[_Hash]
    medium: str | None = None
    group_idx: int | None = None


class _ListedCleared(Struct, tag="AllBlocksCleared", array_like=True, frozen=True):
    pass


class _Batch(Struct, array_like=True, frozen=True):
    seconds: float
    events: list[_Stored | _Removed | _Cleared]


class _ListedBatch(Struct, array_like=True, frozen=True):
    seconds: float
    events: list[_ListedStored | _ListedRemoved | _ListedCleared]


class _RawBatch(Struct, array_like=True, frozen=True):
    seconds: float
    events: list[Raw]


class _Named(Struct, frozen=True):
    type: str


class _ListedNamed(Struct, array_like=True, frozen=True):
    type: str


_Event = _Stored | _Removed | _Cleared | _ListedStored | _ListedRemoved | _ListedCleared

# vLLM 0.32 writes events as maps, earlier versions as lists.
_FORMS: Final = tuple(map(msgspec.msgpack.Decoder, (_Batch, _ListedBatch)))
_RAW_FORM: Final = msgspec.msgpack.Decoder(_RawBatch)
_EVENT_FORMS: Final = (
    (msgspec.msgpack.Decoder(_Named), msgspec.msgpack.Decoder(_Stored | _Removed | _Cleared)),
    (
        msgspec.msgpack.Decoder(_ListedNamed),
        msgspec.msgpack.Decoder(_ListedStored | _ListedRemoved | _ListedCleared),
    ),
)
_KNOWN: Final = frozenset({"BlockStored", "BlockRemoved", "AllBlocksCleared"})


def decode(payload: bytes | memoryview) -> EventBatch:
    """The events of one message that concern blocks on the device.

    Types of events that are not known are left out. Raises `MalformedEventsError`.
    """
    try:
        batch = _decoded(payload)
        events = [event for event in map(_event, batch.events) if event is not None]
    # A text that is not UTF-8 and a list in lists in lists have errors of their own.
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise MalformedEventsError("not a batch of KV events") from None
    # Neither NaN, which no comparison lets through.
    if not 0 <= batch.seconds <= _MAX_SECONDS:
        raise MalformedEventsError("its time is not between 1970 and 2106")
    return EventBatch(batch.seconds, events)


@dataclass(frozen=True, slots=True)
class _Decoded:
    seconds: float
    events: Sequence[_Event]


def _decoded(payload: bytes | memoryview) -> _Decoded:
    for form in _FORMS:
        try:
            batch = form.decode(payload)
        except msgspec.ValidationError:
            continue
        return _Decoded(batch.seconds, batch.events)
    # One by one, because a later version may have further types.
    raw = _RAW_FORM.decode(payload)
    return _Decoded(raw.seconds, list(_known_events(raw.events)))


def _known_events(events: Iterable[Raw]) -> Iterator[_Event]:
    for event in events:
        for named, form in _EVENT_FORMS:
            try:
                is_known = named.decode(event).type in _KNOWN
            except msgspec.ValidationError:
                continue
            if is_known:
                yield form.decode(event)
            break
        else:
            raise ValueError("an event without a type")


def _event(event: _Event) -> CacheEvent | None:
    if isinstance(event, _Cleared | _ListedCleared):
        return Cleared()
    if event.medium not in _DEVICE:
        return None
    group = (event.group_idx or 0) * _GROUP_STEP
    blocks = tuple([_key(block, group) for block in event.block_hashes])
    if isinstance(event, _Removed | _ListedRemoved):
        return Removed(blocks)
    if not 0 < event.block_size <= _MAX_BLOCK_TOKENS:
        raise ValueError("a block of no size")
    parent = event.parent_block_hash
    return Stored(blocks, None if parent is None else _key(parent, group), event.block_size)


def _key(block: _Hash, group: int) -> int:
    if isinstance(block, bytes):
        if not 0 < len(block) <= _MAX_HASH_BYTES:
            raise ValueError("a hash of no known kind")
        # The end, as vLLM takes it for hashes of 64 bits.
        block = int.from_bytes(block[-8:], "big")
    return (block + group) & _KEY_BITS
