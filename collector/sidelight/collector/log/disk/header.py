"""The header of a record on disk: written before each payload, with a checksum over both."""

from __future__ import annotations

import struct
from collections.abc import Callable
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
# Its last byte is the version of the record's format.
_VERSION_AT = len(MAGIC) - 1


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
    return header if _is_known(header) else None


def _is_known(header: Header) -> bool:
    return header.signal < len(SIGNALS) and header.encoding < len(ENCODINGS)


def is_intact(header_bytes: bytes, payload: bytes) -> bool:
    """Whether header and payload are the bytes that were written."""
    header = decode_header(header_bytes)
    if header is None or header.length != len(payload):
        return False
    return _has_checksum(header, header_bytes, payload)


def _has_checksum(header: Header, header_bytes: bytes, payload: bytes) -> bool:
    seed = isal_zlib.crc32(header_bytes[_CRC_START:HEADER_BYTES])
    return isal_zlib.crc32(payload, seed) == header.crc


def is_ours(header_bytes: bytes, payload_of: Callable[[int], bytes]) -> bool:
    """Whether the bytes begin a record of this format, intact or damaged: its magic or its
    checksum says so.
    """
    if header_bytes.startswith(MAGIC):
        return True
    if len(header_bytes) < HEADER_BYTES:
        return False
    header = Header(*_HEADER.unpack_from(header_bytes))
    return _has_checksum(header, header_bytes, payload_of(header.length))


def is_of_other_format(header_bytes: bytes, payload_of: Callable[[int], bytes]) -> bool:
    """Whether the bytes begin a record that another version of this program has written.

    `payload_of` returns the bytes behind the header, of a given length. One flipped bit must
    not look like another version: the checksum, which does not cover the magic, tells.
    """
    if header_bytes[:_VERSION_AT] != MAGIC[:_VERSION_AT] or len(header_bytes) < len(MAGIC):
        return False
    has_our_version = header_bytes.startswith(MAGIC)
    if len(header_bytes) < HEADER_BYTES:
        return not has_our_version
    header = Header(*_HEADER.unpack_from(header_bytes))
    if has_our_version and _is_known(header):
        return False
    is_whole = _has_checksum(header, header_bytes, payload_of(header.length))
    # An intact record of our version with an unknown signal is a newer one; a record of another
    # version that is intact by our rules has a flipped bit.
    return is_whole if has_our_version else not is_whole


def decode(header: Header, payload: bytes) -> Record:
    """The record of an intact header and payload."""
    signal, encoding = SIGNALS[header.signal], ENCODINGS[header.encoding]
    return Record(signal, payload, header.items, header.time_ns, encoding)
