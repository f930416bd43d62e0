"""Requests and responses between the server and its handler, and the server's limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A complete request. Header names are in lower case, values are stripped."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | bytearray


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer. The server adds Content-Length."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


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

    def response(self, explain: Explain, path: str, headers: Mapping[str, str]) -> HttpResponse:
        """The answer to a request; `path` and `headers` are what is known of its head."""
        if self._response is not None:
            return self._response
        content_type, body = explain(path, headers, str(self))
        return HttpResponse(self.status, body, {"Content-Type": content_type, **self._headers})


class Budget:
    """The memory that the bodies of all connections share."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0

    @property
    def has_plenty(self) -> bool:
        """Whether less than a quarter is used, so that a body may get memory in advance."""
        return self.used < self.max_bytes // 4

    def take(self, count: int) -> None:
        """Reserve `count` bytes. Raises `RefusedError` if they are not free."""
        if count > 0 and self.used + count > self.max_bytes:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too much is being received at once; try again",
                {"Retry-After": "1"},
            )
        self.used += count

    def give_back(self, count: int) -> None:
        """Free `count` bytes."""
        self.used -= count
