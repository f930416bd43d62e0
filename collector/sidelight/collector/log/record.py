"""What the log stores: one shaped, compressed OTLP export request, and its bytes on disk."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from isal import isal_zlib

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = get_args(Signal)


@dataclass(frozen=True, slots=True)
class Record:
    """One batch: `payload` is a gzipped OTLP export request of `signal` with `items` items.

    Items are spans, metrics or log records. `time_ns` is when it was appended (Unix).
    """

    signal: Signal
    payload: bytes
    items: int
    time_ns: int


class Header(NamedTuple):
    """The fixed part before a payload; `crc` covers everything after itself."""

    magic: bytes
    crc: int
    length: int
    items: int
    sequence: int
    time_ns: int
    signal: int


# Little-endian: magic, crc, payload length, items, sequence, time, signal, three spare bytes.
_HEADER = struct.Struct("<4sIIIQQB3x")
_CRC_START = 8
HEADER_BYTES = _HEADER.size
# Every record begins with it, so that a reader can find the next one behind a damaged one.
MAGIC = b"SLR\x01"


def encode_header(record: Record, sequence: int) -> bytes:
    """The header that goes before `record.payload`."""
    header = _HEADER.pack(
        MAGIC,
        0,
        len(record.payload),
        record.items,
        sequence,
        record.time_ns,
        SIGNALS.index(record.signal),
    )
    crc = isal_zlib.crc32(record.payload, isal_zlib.crc32(header[_CRC_START:]))
    return header[:4] + crc.to_bytes(4, "little") + header[_CRC_START:]


def decode_header(data: bytes) -> Header | None:
    """The header at the start of `data`, or None if none can stand there."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        return None
    header = Header(*_HEADER.unpack_from(data))
    return header if header.signal < len(SIGNALS) else None


def is_intact(header_bytes: bytes, payload: bytes) -> bool:
    """Whether header and payload are the bytes that were written."""
    header = decode_header(header_bytes)
    if header is None or header.length != len(payload):
        return False
    seed = isal_zlib.crc32(header_bytes[_CRC_START:HEADER_BYTES])
    return isal_zlib.crc32(payload, seed) == header.crc


def decode(header: Header, payload: bytes) -> Record:
    """The record of an intact header and payload."""
    return Record(SIGNALS[header.signal], payload, header.items, header.time_ns)
