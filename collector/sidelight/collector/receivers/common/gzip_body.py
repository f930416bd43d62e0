"""Decompresses gzipped request bodies, up to a limit."""

from __future__ import annotations

from typing import Final

from isal import isal_zlib

from sidelight.otlp.request import MalformedError

# zlib's largest window (15) plus 16, which selects gzip.
_GZIP_WINDOW: Final = 31
_GZIP_STEP_BYTES: Final = 256 * 1024
# A member costs 100 µs and can be as small as 20 bytes. Senders make one, proxies that join
# bodies a few.
_MAX_GZIP_MEMBERS: Final = 256


class TooLargeError(Exception):
    """The decompressed body is larger than allowed."""


def gunzip(body: bytes | bytearray, max_bytes: int) -> bytes:
    """The decompressed body. Stops as soon as it exceeds `max_bytes`.

    Raises `TooLargeError`, and `MalformedError` if the body is not a complete gzip stream.
    """
    pieces: list[bytes] = []
    room = max_bytes
    compressed = memoryview(body)
    at = 0
    try:
        for _ in range(_MAX_GZIP_MEMBERS):  # gzip streams may follow each other (RFC 1952)
            member = isal_zlib.decompressobj(_GZIP_WINDOW)
            while not member.eof:
                if at == len(compressed):
                    raise MalformedError("the gzip body ends too early")
                # In steps: a member copies all bytes after its end into `unused_data`.
                step = compressed[at : at + _GZIP_STEP_BYTES]
                piece = member.decompress(step, room + 1)
                at += len(step)
                room -= len(piece)
                if room < 0:
                    raise TooLargeError(f"the decompressed body is larger than {max_bytes} bytes")
                pieces.append(piece)
            at -= len(member.unused_data)
            if at == len(compressed):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # the stub lacks its base
        raise MalformedError("the body is not valid gzip") from error
    raise MalformedError(f"the gzip body has more than {_MAX_GZIP_MEMBERS} members")
