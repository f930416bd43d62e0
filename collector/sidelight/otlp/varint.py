"""Protobuf's variable-length numbers: seven bits a byte, the lowest first."""

from __future__ import annotations

from google.protobuf.message import DecodeError


def decode(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number at `at`, and where what follows it begins. Raises `DecodeError`."""
    return _decode(data, at, 10)


def decode_short(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """As `decode`, for tags and lengths: at most five bytes and 32 bits, as parsers take them.

    Raises `DecodeError`.
    """
    result, after = _decode(data, at, 5)
    if result >= 1 << 32:
        raise DecodeError("a tag or length has more than 32 bits")
    return result, after


def _decode(data: bytes | memoryview, at: int, max_bytes: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift >= 7 * max_bytes:
            raise DecodeError("ends in the middle of a number")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def encode(value: int) -> bytes:
    """The bytes of a number of 0 or above."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
