"""Parses the bytes of one connection into complete requests; no sockets, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, NamedTuple

import httptools

from sidelight.base.budget import Budget, OverBudgetError
from sidelight.base.http_server.head import SINGLE, bad_request, check_head
from sidelight.base.http_server.messages import (
    Admit,
    Head,
    HttpRequest,
    RefusedError,
)

Phase = Literal["idle", "head", "body"]

MAX_HEAD_BYTES = 32 * 1024
# Pipelined requests that may wait on one connection while the first is answered.
_MAX_WAITING = 32
# The memory of a body starts at this size and grows as bytes arrive, so a Content-Length alone
# costs little. While memory is plentiful, a body of usual size gets all of it at once, which
# saves the copying.
_FIRST_BODY_BYTES = 64 * 1024
_USUAL_BODY_BYTES = 1024 * 1024
_BODY_GROWTH = 8


class Received(NamedTuple):
    """A complete request, which holds `held_bytes` of the budget until it is answered."""

    request: HttpRequest
    keep_alive: bool
    held_bytes: int


class RequestReader:
    """Collects requests in `received` from the bytes that a connection feeds it.

    A body of known length goes straight into `body_buffer`, past the parser. `feed` and
    `body_filled` raise `RefusedError` for an invalid or too large request; feed nothing after
    that.
    """

    def __init__(self, max_body_bytes: int, budget: Budget, admit: Admit | None = None) -> None:
        self._max_body_bytes = max_body_bytes
        self._budget = budget
        self._admit = admit
        self.is_certified = False
        """The client has shown a trusted certificate."""
        self.received: deque[Received] = deque()
        # The last request said `Connection: close`: bytes after it are ignored.
        self._is_at_end = False
        self.wants_continue = False
        """The client waits for `100 Continue` before it sends the body."""
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = 0
        self._reset_message()

    def _reset_message(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._in_body = False
        self._ignores_upgrade = False
        self._length: int | None = None
        # The beginning of a body, parsed together with the head, and all chunks of a chunked one.
        self._start = bytearray()
        self._unparsed_bytes = 0
        self._body: bytearray | None = None
        self._view = memoryview(b"")
        self._got = 0
        self._held_bytes = 0
        self.wants_continue = False

    @property
    def phase(self) -> Phase:
        """The part of a request that the next bytes belong to."""
        if self._in_body:
            return "body"
        return "head" if self._head_bytes else "idle"

    @property
    def path(self) -> str:
        """The path of the request under way, as far as it has arrived."""
        return _path(self._url) if self._url else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request under way, as far as they have arrived."""
        return self._headers

    @property
    def body_buffer(self) -> memoryview | None:
        """The buffer for the next bytes, or None if they go to `feed`."""
        return None if self._body is None else self._view[self._got :]

    def body_filled(self, count: int) -> None:
        """The next `count` bytes are in `body_buffer`."""
        self._got += count
        self._grow_body()

    def feed(self, data: memoryview) -> None:
        """Parse bytes that are not in `body_buffer`."""
        if self._has_ended():
            return
        if self._in_body:
            self._unparsed_bytes += len(data)
        else:
            self._head_bytes += len(data)
        rest: memoryview | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if self._has_ended():
                return
            # httptools wraps what a callback of ours raises.
            if isinstance(error.__context__, RefusedError):
                raise error.__context__ from None
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, f"not a valid HTTP/1.1 request: {error}"
            ) from None
        if rest is not None:
            self._go_on_without_upgrade(rest)
            return
        if self._head_bytes > MAX_HEAD_BYTES or self._unparsed_bytes > MAX_HEAD_BYTES:
            raise _head_too_large()
        if self._in_body and self._length is not None:
            self._leave_parser(self._length)

    def _has_ended(self) -> bool:
        return self._is_at_end

    def forget(self) -> None:
        """Give back the budget of a request that never became complete."""
        self._budget.give_back(self._held_bytes)
        self._reset_message()

    def _go_on_without_upgrade(self, rest: memoryview) -> None:
        """Ignore an Upgrade header, as a server may (RFC 9110, section 7.8).

        Java's HttpClient asks for h2c with the first request of each connection. httptools then
        takes the request to have no body, so another parser gets the head without the header.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "this server is not a proxy")
        headers = {k: v for k, v in self._headers.items() if k not in ("upgrade", "connection")}
        lines = [b"%b %b HTTP/1.1" % (method, self._url)]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
        self._begin()
        self.feed(memoryview(b"\r\n".join(lines) + b"\r\n\r\n"))
        while rest:
            buffer = self.body_buffer
            if buffer is None:
                self.feed(rest)
                return
            count = min(len(rest), len(buffer))
            buffer[:count] = rest[:count]
            self.body_filled(count)
            rest = rest[count:]

    def _leave_parser(self, length: int) -> None:
        """Go on without the parser: the rest of the body has a known length."""
        start = self._start
        first = _USUAL_BODY_BYTES if self._budget.has_plenty else _FIRST_BODY_BYTES
        self._body = bytearray(min(length, max(first, len(start))))
        self._hold(len(self._body) - len(start))
        self._view = memoryview(self._body)
        self._view[: len(start)] = start
        self._got = len(start)
        self._start = bytearray()
        self._grow_body()

    def _grow_body(self) -> None:
        """If the body's memory is full, complete the request or give it more memory."""
        assert self._body is not None
        assert self._length is not None
        if self._got < len(self._body):
            return
        if self._got == self._length:
            self._complete(self._body)
            self._begin()
            return
        capacity = min(self._length, len(self._body) * _BODY_GROWTH)
        self._hold(capacity - len(self._body))
        grown = bytearray(capacity)
        grown[: self._got] = self._body
        self._body = grown
        self._view = memoryview(grown)

    def _hold(self, count: int) -> None:
        try:
            self._budget.take(count)
        except OverBudgetError as error:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "1"}
            ) from None
        self._held_bytes += count

    def _complete(self, body: bytearray) -> None:
        if len(self.received) >= _MAX_WAITING:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS, "too many pipelined requests", {"Retry-After": "1"}
            )
        method = self._parser.get_method().decode("latin-1")
        request = HttpRequest(method, _path(self._url), self._headers, body)
        keep_alive = self._parser.should_keep_alive()
        # A client must send nothing after `Connection: close`.
        self._is_at_end = not keep_alive
        self.received.append(Received(request, keep_alive, self._held_bytes))
        self._held_bytes = 0
        self.wants_continue = False

    # ── httptools calls these ────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        self._reset_message()

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > MAX_HEAD_BYTES:
            raise _head_too_large()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if len(self._url) + self._header_bytes > MAX_HEAD_BYTES:
            raise _head_too_large()
        if self._in_body:  # trailers of a chunked body are ignored
            return
        key = name.decode("latin-1").lower()
        if key in SINGLE and key in self._headers:
            raise bad_request(f"the header {key} is there twice")
        self._headers[key] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        self._ignores_upgrade = self._parser.should_upgrade()
        if self._ignores_upgrade:
            return
        check_head(self._url, self._parser.get_http_version(), self._headers)
        # Before the body: an unknown sender must not cost more than its head.
        if self._admit is not None:
            self._ask(self._admit)
        self._in_body = True
        self._head_bytes = 0
        length = self._headers.get("content-length")
        if length is not None:
            self._length = int(length)
            if self._length > self._max_body_bytes:
                raise self._too_large()
        self.wants_continue = self._headers.get("expect", "").lower() == "100-continue"

    def _ask(self, admit: Admit) -> None:
        method = self._parser.get_method().decode("latin-1")
        answer = admit(Head(method, _path(self._url), self._headers, self.is_certified))
        if answer is not None:
            raise RefusedError.with_response(answer)

    def on_chunk_header(self) -> None:
        self._unparsed_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        if len(self._start) + len(body) > self._max_body_bytes:
            raise self._too_large()
        self._hold(len(body))
        self._start += body

    def on_message_complete(self) -> None:
        if self._ignores_upgrade:
            return
        self._in_body = False
        self._unparsed_bytes = 0
        self._complete(self._start)

    def _too_large(self) -> RefusedError:
        return RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body is larger than {self._max_body_bytes} bytes",
        )


def _head_too_large() -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"the headers are larger than {MAX_HEAD_BYTES} bytes",
    )


def _path(url: bytes) -> str:
    """The path of a request's target, which may have a scheme and host (from proxies)."""
    if not url.startswith(b"/"):
        url = b"/" + url.partition(b"://")[2].partition(b"/")[2]
    return url.partition(b"?")[0].decode("latin-1")
