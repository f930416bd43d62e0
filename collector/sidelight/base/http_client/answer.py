"""Parses the answer of a backend from the bytes of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import httptools

# Against a backend that sends headers without end; the largest sane head is a tenth of it.
_MAX_HEAD_BYTES = 64 * 1024
_SWITCHING = 101
_REDIRECTS = 300

Ending = Literal["whole", "limit", "late", "broken"]
"""What ended a body: its own end, our limit, the deadline, or the end of the connection."""


class NotHttpError(Exception):
    """The bytes are not an HTTP/1.1 answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; the names of `headers` are in lower case.

    `body` is what arrived before its `ending`.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ending: Ending = "whole"


class AnswerReader:
    """Reads one answer from the bytes it is fed, and knows when it has begun and ended.

    `feed` raises `NotHttpError`.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._fed = 0
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self.status: int | None = None
        """Known once the head is whole."""
        self.is_whole = False
        self.is_cut = False
        """The body is larger than the limit; the rest is not read."""
        self.keeps_alive = False

    def feed(self, data: memoryview) -> None:
        """Read the next bytes. Bytes after the end of the answer do not belong to it."""
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise NotHttpError("it switches to another protocol") from error
        except httptools.HttpParserError as error:
            if not self.is_whole:
                raise NotHttpError(str(error)) from error
            # The next request would take the bytes after this answer for its own.
            self.keeps_alive = False
        if self.status is None and self._fed > _MAX_HEAD_BYTES:
            raise NotHttpError("its head is too large")

    @property
    def has_begun(self) -> bool:
        """Whether at least one byte has arrived."""
        return self._fed > 0

    @property
    def is_refusal(self) -> bool:
        """Whether the status is known and means that the backend does not take the request."""
        return self.status is not None and self.status >= _REDIRECTS

    def answer(self, ending: Ending) -> Answer:
        """What has arrived so far; only valid once the status is known."""
        assert self.status is not None
        return Answer(self.status, self._headers, bytes(self._body), ending)

    def end(self) -> None:
        """The connection was closed, which is the end of an answer without a length."""
        has_length = "content-length" in self._headers or "transfer-encoding" in self._headers
        self.is_whole = self.is_whole or not has_length

    # ── httptools calls these ────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise NotHttpError("a second answer arrived for one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        # Repeated headers are one list (RFC 9110, section 5.2).
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 or status == _SWITCHING:
            self.status = status
            self.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        room = self._max_body_bytes - len(self._body)
        self.is_cut = self.is_cut or len(body) > room
        self._body += body[:room]

    def on_message_complete(self) -> None:
        if self.status is None:  # 100 and 103 only announce the answer
            self._begin()
        else:
            self.is_whole = True
