"""What passes between the server and its handler, and what clients may take of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request; header names are lower case, values stripped."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | bytearray


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer; Content-Length is added."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a request before its body; `is_certified`: over mutual TLS."""

    method: str
    path: str
    headers: Mapping[str, str]
    is_certified: bool


Admit = Callable[[Head], HttpResponse | None]
"""The answer to a request that is refused at its head, None for one that may go on."""


Explain = Callable[[str, Mapping[str, str], str], tuple[str, bytes]]
"""Content type and body of an answer that says what is wrong.

Given the request's path and headers, empty or incomplete where no more of it is known, and a
sentence.
"""


def in_words(path: str, headers: Mapping[str, str], sentence: str) -> tuple[str, bytes]:  # noqa: ARG001 (an Explain)
    """As a line of text."""
    return "text/plain", f"{sentence}\n".encode()


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take of the server.

    `max_buffered_bytes` is for the bodies of all connections together, from their first byte
    until they are answered.
    """

    max_body_bytes: int
    max_buffered_bytes: int
    max_connections: int
    header_timeout_seconds: float
    body_timeout_seconds: float
    idle_timeout_seconds: float


class RefusedError(Exception):
    """The request is refused and nothing more is read of its connection."""

    def __init__(
        self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self._headers = headers or {}
        self._response: HttpResponse | None = None

    @classmethod
    def with_response(cls, response: HttpResponse) -> RefusedError:
        """The same with an answer that is ready."""
        error = cls(HTTPStatus(response.status), "")
        error._response = response
        return error

    def response(self, explain: Explain, path: str, headers: Mapping[str, str]) -> HttpResponse:
        """The answer to a request, of whose head so much is known."""
        if self._response is not None:
            return self._response
        content_type, body = explain(path, headers, str(self))
        return HttpResponse(self.status, body, {"Content-Type": content_type, **self._headers})


class Budget:
    """Bytes that the bodies of all connections may take together."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0

    @property
    def has_plenty(self) -> bool:
        """Whether there is no need to be careful."""
        return self.used < self.most // 4

    def take(self, count: int) -> None:
        """Raises `RefusedError` if there is not enough."""
        if count > 0 and self.used + count > self.most:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too much is being received at once; try again",
                {"Retry-After": "1"},
            )
        self.used += count

    def give_back(self, count: int) -> None:
        """What was taken is free again."""
        self.used -= count
