"""The origin of a URL: scheme, host and port, as sockets and headers need them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult

_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """A server. `host` is as the DNS needs it: IDNA-encoded, IPv6 addresses without brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: SplitResult) -> Origin:
        """The origin of a split URL. Raises `ValueError` if the scheme is not http or https."""
        if url.scheme not in _USUAL_PORTS:
            raise ValueError(f"the scheme {url.scheme!r} is not http or https")
        host = url.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode()
        return cls(url.scheme, host, url.port or _USUAL_PORTS[url.scheme])

    @property
    def is_tls(self) -> bool:
        """Whether connections to it speak TLS."""
        return self.scheme == "https"

    @property
    def place(self) -> str:
        """Host and port, for messages and CONNECT."""
        return f"{self._bracketed_host}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header: without the port if it is the scheme's default (RFC 9110, 7.2)."""
        is_usual = self.port == _USUAL_PORTS[self.scheme]
        return self._bracketed_host if is_usual else self.place

    @property
    def _bracketed_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host
