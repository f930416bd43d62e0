"""A message's fields as `native/check.c` reads them, made of protobuf's own description."""

from __future__ import annotations

import struct
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_MAX_FIELDS: Final = 32
_KIND_BITS: Final = 4
_MESSAGE: Final = 7
# Of a field that C leaves to protobuf, and of a message with fields beyond its row.
_OTHER: Final = 11
_HAS_HIGHER_FIELDS: Final = 4
# Kinds of fields by their type: of one number, and of several together.
_KINDS: Final = {
    FieldDescriptor.TYPE_BOOL: (1, 8),
    FieldDescriptor.TYPE_ENUM: (1, 8),
    FieldDescriptor.TYPE_INT32: (1, 8),
    FieldDescriptor.TYPE_INT64: (1, 8),
    FieldDescriptor.TYPE_SINT32: (1, 8),
    FieldDescriptor.TYPE_SINT64: (1, 8),
    FieldDescriptor.TYPE_UINT32: (1, 8),
    FieldDescriptor.TYPE_UINT64: (1, 8),
    FieldDescriptor.TYPE_DOUBLE: (2, 9),
    FieldDescriptor.TYPE_FIXED64: (3, 9),
    FieldDescriptor.TYPE_SFIXED64: (3, 9),
    FieldDescriptor.TYPE_FLOAT: (4, 10),
    FieldDescriptor.TYPE_FIXED32: (4, 10),
    FieldDescriptor.TYPE_SFIXED32: (4, 10),
    FieldDescriptor.TYPE_BYTES: (5, 5),
    FieldDescriptor.TYPE_STRING: (6, 6),
    FieldDescriptor.TYPE_MESSAGE: (_MESSAGE, _MESSAGE),
}
_SPECIAL: Final = {
    AnyValue.DESCRIPTOR.full_name: 1,
    KeyValue.DESCRIPTOR.full_name: 2,
    Span.DESCRIPTOR.full_name: 3,
}


def schema(message: type[Message]) -> bytes:
    """A row of numbers of 16 bits for each message, the first for `message` itself.

    OTLP has neither groups nor field numbers of 32 and above. A later version may: C is not sure of
    a message that holds one.
    """
    messages: list[Descriptor] = [message.DESCRIPTOR]  # type: ignore[list-item]  # both are one
    rows: list[list[int]] = []
    while len(rows) < len(messages):
        current = messages[len(rows)]
        row = [0] * _MAX_FIELDS
        row[0] = _SPECIAL.get(current.full_name, 0)
        for field in current.fields:
            if field.number >= _MAX_FIELDS:
                row[0] |= _HAS_HIGHER_FIELDS
                continue
            row[field.number] = _KINDS.get(field.type, (_OTHER, _OTHER))[field.is_repeated]
            if field.message_type is not None and row[field.number] == _MESSAGE:
                if field.message_type not in messages:
                    messages.append(field.message_type)
                row[field.number] |= messages.index(field.message_type) << _KIND_BITS
        rows.append(row)
    return b"".join(struct.pack(f"={_MAX_FIELDS}H", *row) for row in rows)
