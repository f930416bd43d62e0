"""One kept connection: a request out, an answer in."""

from __future__ import annotations

import select
import ssl
from contextlib import suppress

from sidelight.base.http_client import deadline
from sidelight.base.http_client.answer import Answer, AnswerReader, Ending, NotHttpError

_READ_BYTES = 16 * 1024


class HungUpError(ConnectionError):
    """The backend closed the connection before it answered."""


class Connection:
    """Made by connecting, within the exchange under way on this thread. Raises `OSError`."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        plain = deadline.connect(host, port)
        self._socket: deadline.TimedSocket | deadline.TimedTlsSocket = plain
        if context is not None:
            try:
                self._socket = deadline.secure(plain, context, host)
            except BaseException:
                plain.close()
                raise
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self.is_reusable = False

    def exchange(self, head: bytes, body: bytes | None, max_body_bytes: int) -> Answer:
        """Send a request and return the answer, of its body at most `max_body_bytes`.

        Once the status is there whatever else goes wrong is no matter: it is the backend's
        word on the request. Raises `OSError` and `NotHttpError` before.
        """
        self.is_reusable = False
        reader = AnswerReader(max_body_bytes)
        is_sent = self._send(head, body, reader)
        while reader.status is None:
            self._read(reader)
        ending = self._read_body(reader)
        self.is_reusable = is_sent and ending == "whole" and reader.keeps_alive
        return reader.answer(ending)

    def _read_body(self, reader: AnswerReader) -> Ending:
        try:
            while not (reader.is_whole or reader.is_cut):
                self._read(reader)
        except TimeoutError:
            return "late"
        except (OSError, NotHttpError):
            return "whole" if reader.is_whole else "broken"
        return "limit" if reader.is_cut else "whole"

    def _send(self, head: bytes, body: bytes | None, reader: AnswerReader) -> bool:
        """Whether all of it was sent.

        A backend that refuses a request need not read it to its end: the answer comes in the
        middle then, and behind it often a reset.
        """
        parts = [memoryview(each) for each in (head, body) if each]
        try:
            while parts and not reader.is_refusal:
                parts = self._socket.send_parts(parts)
                if parts:
                    self._read_word(reader)
        except OSError:
            self._read_what_came(reader)
            if not reader.is_refusal:
                raise
            return False
        return not parts

    def _read_word(self, reader: AnswerReader) -> None:
        """What the backend says before it has taken everything; over TLS it may be nothing."""
        with suppress(ssl.SSLWantReadError):
            self._take(reader, deadline.take_what_came(self._socket, self._buffer))

    def _read_what_came(self, reader: AnswerReader) -> None:
        """Nothing more is waited for."""
        with suppress(OSError, NotHttpError):
            while not reader.is_refusal:
                self._take(reader, deadline.take_what_came(self._socket, self._buffer))

    def _read(self, reader: AnswerReader) -> None:
        self._take(reader, self._socket.recv_into(self._buffer))

    def _take(self, reader: AnswerReader, size: int) -> None:
        if not size:
            reader.end()
            raise HungUpError("the connection was closed")
        reader.feed(self._buffer[:size])

    def is_dropped(self) -> bool:
        """Whether the backend closed an idle connection, or said what nobody asked for."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(0))

    def close(self) -> None:
        """Close it."""
        with suppress(OSError):
            self._socket.close()
