"""Protobuf's wire format, as far as OTLP needs it: fields, attributes and resources as bytes.

The generated classes would be a dependency of vLLM's process, at a version that vLLM may not
have, and they take five times as long. The field numbers of OTLP are stable; the tests decode
what is written here with the generated classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final

# Of arrays and maps within each other. Decoders of protobuf stop at 100 nested messages.
MAX_DEPTH: Final = 16
_MAX_CACHED_CHARACTERS: Final = 64
_DOUBLE: Final = Struct("<d")
_MIN_INT64: Final = -(2**63)
_MAX_INT64: Final = 2**63 - 1


def varint(value: int) -> bytes:
    """`value` as a varint; a negative one as an int64."""
    if 0 <= value < 0x80:
        return value.to_bytes(1, "little")
    # A negative int64 is written as its two's complement in ten bytes.
    value &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def message(tag: bytes, content: bytes) -> bytes:
    """A field that holds a message, bytes or packed numbers."""
    length = len(content)
    if length < 0x80:
        return b"%b%c%b" % (tag, length, content)
    return b"%b%b%b" % (tag, varint(length), content)


def text(tag: bytes, value: str) -> bytes:
    """A field that holds a text."""
    # A lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark.
    return message(tag, value.encode("utf-8", "replace"))


def attribute(tag: bytes, name: str, value: Any) -> bytes:
    """A `KeyValue`.

    `value` is a str, bool, int, float, bytes, None, or a list, tuple or mapping of these. An
    integer beyond int64 becomes a text. What is nested deeper than `MAX_DEPTH` is left empty.
    Raises `TypeError` for other types, with the name of the type.
    """
    kind = type(value)
    if kind is float:
        return _float_prefix(tag, name) + _DOUBLE.pack(value)
    # Most attributes have the same few values in all spans, so their bytes are cached.
    if kind is int or kind is bool or (kind is str and len(value) <= _MAX_CACHED_CHARACTERS):
        return _cached_attribute(tag, name, value)
    return _key_value(tag, name, _value(value, MAX_DEPTH))


def attributes(tag: bytes, values: Mapping[str, Any]) -> list[bytes]:
    """One `KeyValue` for each of `values`."""
    return [attribute(tag, name, value) for name, value in values.items()]


def resource(values: Mapping[str, Any]) -> bytes:
    """The content of a `Resource`."""
    return b"".join(attributes(b"\x0a", values))


@lru_cache(maxsize=4096, typed=True)
def _cached_attribute(tag: bytes, name: str, value: str | int | bool) -> bytes:
    return _key_value(tag, name, _value(value, MAX_DEPTH))


@lru_cache(maxsize=1024)
def _float_prefix(tag: bytes, name: str) -> bytes:
    # A double always takes 9 bytes, so everything before its own 8 is the same.
    return _key_value(tag, name, b"\x21" + bytes(8))[:-8]


def _key_value(tag: bytes, name: str, value: bytes) -> bytes:
    return message(tag, text(b"\x0a", name) + message(b"\x12", value))


def _value(value: Any, depth: int) -> bytes:
    """The content of an `AnyValue`."""
    if isinstance(value, str):
        return text(b"\x0a", value)
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        # https://opentelemetry.io/docs/specs/otel/common/attribute-type-mapping/#integer-values
        # Not `in range(…)`, which counts to find a number of a subclass, as an enum's.
        if _MIN_INT64 <= value <= _MAX_INT64:
            return b"\x18" + varint(value)
        return text(b"\x0a", _digits(value))
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    if isinstance(value, bytes):
        return message(b"\x3a", value)
    if value is None:
        return b""
    if isinstance(value, list | tuple):
        items = value if depth else ()
        parts = (message(b"\x0a", _value(item, depth - 1)) for item in items)
        return message(b"\x2a", b"".join(parts))
    if isinstance(value, Mapping):
        pairs = value.items() if depth else ()
        parts = (_key_value(b"\x0a", str(name), _value(item, depth - 1)) for name, item in pairs)
        return message(b"\x32", b"".join(parts))
    raise TypeError(f"an attribute cannot hold {type(value).__name__}")


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:
        # Python writes no decimal number of more than 4,300 digits.
        return hex(value)
