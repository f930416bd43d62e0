"""Requests and responses between the server and its handler, and the server's limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple


# One of each of these is made for a request. A frozen dataclass takes a microsecond more to make.
class HttpRequest(NamedTuple):
    """A complete request. Header names are in lower case, values are stripped."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | bytearray


class HttpResponse(NamedTuple):
    """An answer. The server adds Content-Length."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class Head:
    """A request before its body. `is_certified`: the client showed a trusted certificate."""

    method: str
    path: str
    headers: Mapping[str, str]
    is_certified: bool


Admit = Callable[[Head], HttpResponse | None]
"""The answer to a request that is refused before its body is read; None to accept it."""


Explain = Callable[[str, Mapping[str, str], str], tuple[str, bytes]]
"""Content type and body of an error.

The arguments are the request's path and headers, as far as they have arrived, and a sentence.
"""


def in_words(path: str, headers: Mapping[str, str], sentence: str) -> tuple[str, bytes]:  # noqa: ARG001 (an Explain)
    """The error as a line of text."""
    return "text/plain", f"{sentence}\n".encode()


AddHeaders = Callable[[Mapping[str, str]], Mapping[str, str]]
"""Headers that an answer gets besides its own, from those of the request."""


Refused = Callable[[str, int, str], None]
"""Told of each request that the server itself refuses: path as far as known, status, sentence."""


def unnoticed(path: str, status: int, sentence: str) -> None:
    """Do nothing (a `Refused`)."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What clients may use of the server.

    `max_buffered_bytes` bounds the bodies of all connections together, each from its first
    byte until its answer.
    """

    max_body_bytes: int
    max_buffered_bytes: int
    max_connections: int
    header_timeout_seconds: float
    body_timeout_seconds: float
    idle_timeout_seconds: float


class RefusedError(Exception):
    """The request is refused, and nothing more is read from its connection."""

    def __init__(
        self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self._headers = headers or {}
        self._response: HttpResponse | None = None

    @classmethod
    def with_response(cls, response: HttpResponse) -> RefusedError:
        """A refusal with a complete answer."""
        error = cls(HTTPStatus(response.status), "")
        error._response = response
        return error

    @property
    def is_answered(self) -> bool:
        """Whether the answer was made by what asked for the refusal, not by the server."""
        return self._response is not None

    def response(self, explain: Explain, path: str, headers: Mapping[str, str]) -> HttpResponse:
        """The answer to a request; `path` and `headers` are what is known of its head."""
        if self._response is not None:
            return self._response
        content_type, body = explain(path, headers, str(self))
        return HttpResponse(self.status, body, {"Content-Type": content_type, **self._headers})
