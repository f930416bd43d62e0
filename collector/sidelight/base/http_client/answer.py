"""What a backend answered, put together from the bytes it sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import httptools

_MAX_HEAD_BYTES = 64 * 1024
_SWITCHING = 101
_REDIRECTS = 300

Ending = Literal["whole", "limit", "late", "broken"]
"""Where a body ends: where it should, at our limit, at the deadline, or with the connection."""


class NotHttpError(Exception):
    """The bytes are no answer in HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend answered; `headers` have lower-case names.

    `body` is what came before its `ending`.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ending: Ending = "whole"


class AnswerReader:
    """Fed with what a connection brings, it knows when an answer has begun and ended.

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
        """More of the body came than is wanted."""
        self.keeps_alive = False

    def feed(self, data: memoryview) -> None:
        """Take what came next; anything behind the answer's end is no part of it."""
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise NotHttpError("it switches to another protocol") from error
        except httptools.HttpParserError as error:
            if not self.is_whole:
                raise NotHttpError(str(error)) from error
            # What came behind the answer would be taken for the next one.
            self.keeps_alive = False
        if self.status is None and self._fed > _MAX_HEAD_BYTES:
            raise NotHttpError("its head is too large")

    @property
    def has_begun(self) -> bool:
        """At least a byte came."""
        return self._fed > 0

    @property
    def is_refusal(self) -> bool:
        """The status is there, and says that the request is not taken, read or unread."""
        return self.status is not None and self.status >= _REDIRECTS

    def answer(self, ending: Ending) -> Answer:
        """What came so far; the status is known."""
        assert self.status is not None
        return Answer(self.status, self._headers, bytes(self._body), ending)

    def end(self) -> None:
        """The connection was closed, which ends an answer that does not tell its length."""
        has_length = "content-length" in self._headers or "transfer-encoding" in self._headers
        self.is_whole = self.is_whole or not has_length

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise NotHttpError("another answer came that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
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
        if self.status is None:  # 100 and 103 announce the answer
            self._begin()
        else:
            self.is_whole = True
