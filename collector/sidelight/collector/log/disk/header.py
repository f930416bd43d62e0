"""The header of a record on disk: written before each payload, with a checksum over both."""

from __future__ import annotations

import struct
from typing import NamedTuple

from isal import isal_zlib

from sidelight.collector.log.record import ENCODINGS, Record
from sidelight.otlp.signals import SIGNALS


class Header(NamedTuple):
    """The fixed part before a payload; `crc` covers everything after itself."""

    magic: bytes
    crc: int
    length: int
    items: int
    sequence: int
    time_ns: int
    signal: int
    encoding: int


# Little-endian: magic, crc, payload length, items, sequence, time, signal, encoding, two spare.
_HEADER = struct.Struct("<4sIIIQQBB2x")
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
        ENCODINGS.index(record.encoding),
    )
    crc = isal_zlib.crc32(record.payload, isal_zlib.crc32(header[_CRC_START:]))
    return header[:4] + crc.to_bytes(4, "little") + header[_CRC_START:]


def decode_header(data: bytes) -> Header | None:
    """The header at the start of `data`, or None if none can stand there."""
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        return None
    header = Header(*_HEADER.unpack_from(data))
    is_known = header.signal < len(SIGNALS) and header.encoding < len(ENCODINGS)
    return header if is_known else None


def is_intact(header_bytes: bytes, payload: bytes) -> bool:
    """Whether header and payload are the bytes that were written."""
    header = decode_header(header_bytes)
    if header is None or header.length != len(payload):
        return False
    seed = isal_zlib.crc32(header_bytes[_CRC_START:HEADER_BYTES])
    return isal_zlib.crc32(payload, seed) == header.crc


def decode(header: Header, payload: bytes) -> Record:
    """The record of an intact header and payload."""
    signal, encoding = SIGNALS[header.signal], ENCODINGS[header.encoding]
    return Record(signal, payload, header.items, header.time_ns, encoding)
