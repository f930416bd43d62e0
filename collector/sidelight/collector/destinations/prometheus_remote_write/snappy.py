"""Snappy's block format: compressed by cramjam if it is installed, valid without it as well."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

from sidelight.otlp import varint

_MOST = 65536


def compress(data: bytes) -> bytes:
    """`data` as a snappy block."""
    cramjam = loaded()
    return stored(data) if cramjam is None else bytes(cramjam.snappy.compress_raw(data))


@lru_cache(maxsize=1)
def loaded() -> ModuleType | None:
    """cramjam or None. Not before it is needed: it takes 1.4 MB, most need no remote write."""
    try:
        import cramjam
    except ImportError:
        return None
    return cramjam


def stored(data: bytes) -> bytes:
    """A block of literals only: as large as `data`, and any reader of snappy takes it."""
    parts = [varint.encode(len(data))]
    for start in range(0, len(data), _MOST):
        chunk = data[start : start + _MOST]
        parts += (_literal_tag(len(chunk)), chunk)
    return b"".join(parts)


def _literal_tag(length: int) -> bytes:
    """What stands before a literal: its length less one, in the tag or in two bytes behind it."""
    if length <= 60:
        return bytes(((length - 1) << 2,))
    return b"\xf4" + (length - 1).to_bytes(2, "little")
