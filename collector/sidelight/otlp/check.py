"""Whether bytes are a valid protobuf message, found out in bounded memory.

Parsing 2 bytes of an empty sub-message makes 170 bytes of structure, so 64 MiB of them, which
gzip into 64 kB, would take 5 GB. Messages above `WHOLE_BYTES` are therefore walked field by
field and only their parts parsed, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from sidelight.otlp import varint

WHOLE_BYTES = 1024 * 1024
# A span has 26 bytes of ids alone; what has more parts than this is made to be expensive.
MAX_PARTS = 250_000

MAX_DEPTH = 100
"""Messages within each other that protobuf's parsers take, the request among them."""

SLICED_LEVELS = 3
"""Requests, resources and scopes: the sliced view of a request has a structure for each part."""

_VARINT, _FIXED64, LENGTH, _FIXED32 = 0, 1, 2, 5
"""Wire types; `LENGTH` is what texts, bytes and messages have."""
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


class Checker:
    """Checks one request of the type `root`; its parts are counted over all levels."""

    def __init__(self, root: type[Message], max_parts: int | None = None) -> None:
        self._root = root
        self._parts_left = MAX_PARTS if max_parts is None else max_parts

    def check(
        self,
        schema: type[Message],
        data: memoryview,
        path: tuple[int, ...] = (),
        *,
        levels: int = 0,
    ) -> None:
        """Raises `DecodeError` if `data` is no valid message or has too many parts.

        `schema` is its type, and `path` has the numbers of the fields that lead to it from the
        root. Of so many `levels` the parts are counted even where they are small.
        """
        if len(path) > MAX_DEPTH:
            raise DecodeError("messages are nested too deeply")
        if len(data) <= WHOLE_BYTES and levels <= 0:
            self._parse(data, path)
            return
        parts = _parts(schema.DESCRIPTOR)
        rest = bytearray()
        for number, wire_type, field, value in self.fields(data):
            part = parts.get(number) if wire_type == LENGTH else None
            if part is None:
                rest += field
            else:
                self.check(part, value, (*path, number), levels=levels - 1)
        self._parse(rest, path)

    def _parse(self, data: bytes | bytearray | memoryview, path: tuple[int, ...]) -> None:
        # In its place below the root, because parsers count from there how deep messages nest.
        pieces = [bytes(data)]
        size = len(data)
        for number in reversed(path):
            head = varint.encode(number << 3 | LENGTH) + varint.encode(size)
            pieces.append(head)
            size += len(head)
        self._root.FromString(b"".join(reversed(pieces)))

    def fields(self, data: memoryview) -> Iterator[tuple[int, int, memoryview, memoryview]]:
        """Number, wire type, the whole field and its value alone, of each field of a message.

        Raises `DecodeError` if they cannot be told apart, or are too many.
        """
        at, end = 0, len(data)
        while at < end:
            self._parts_left -= 1
            if self._parts_left < 0:
                raise DecodeError("too many parts")
            begin = at
            tag, at = varint.decode_short(data, at)
            wire_type = tag & 7
            start = at
            if wire_type == LENGTH:
                length, start = varint.decode_short(data, at)
                at = start + length
            elif wire_type == _VARINT:
                _, at = varint.decode(data, at)
            elif wire_type in _FIXED_BYTES:
                at += _FIXED_BYTES[wire_type]
            else:
                raise DecodeError("groups are not used in OTLP")
            if at > end:
                raise DecodeError("ends in the middle of a field")
            yield tag >> 3, wire_type, data[begin:at], data[start:at]


@lru_cache(maxsize=64)
def _parts(descriptor: Descriptor) -> dict[int, type[Message]]:
    """The sub-messages of a message by field number."""
    return {
        field.number: GetMessageClass(field.message_type)
        for field in descriptor.fields
        if field.message_type is not None
    }
