"""Snappy's block format: compressed if cramjam is installed, otherwise valid but uncompressed."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

from sidelight.otlp import varint

# The length of a literal is written in two bytes.
_MAX_LITERAL_BYTES = 65536


def compress(data: bytes) -> bytes:
    """`data` as a snappy block."""
    cramjam = loaded()
    return stored(data) if cramjam is None else bytes(cramjam.snappy.compress_raw(data))


@lru_cache(maxsize=1)
def loaded() -> ModuleType | None:
    """cramjam, or None. Imported when needed: it takes 1.4 MB, and few use remote write."""
    try:
        import cramjam
    except ImportError:
        return None
    return cramjam


def stored(data: bytes) -> bytes:
    """A block of literals only: as large as `data`, and readable by every implementation."""
    parts = [varint.encode(len(data))]
    for start in range(0, len(data), _MAX_LITERAL_BYTES):
        chunk = data[start : start + _MAX_LITERAL_BYTES]
        parts += (_literal_tag(len(chunk)), chunk)
    return b"".join(parts)


def _literal_tag(length: int) -> bytes:
    """The tag before a literal: its length minus one, in the tag or in two bytes after it."""
    if length <= 60:
        return bytes(((length - 1) << 2,))
    return b"\xf4" + (length - 1).to_bytes(2, "little")
