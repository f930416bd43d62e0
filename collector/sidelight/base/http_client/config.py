"""Keys of everything that the collector connects to: proxy and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from sidelight.base.configuration.section import ConfigError, HttpUrl, Secret, Section
from sidelight.base.http_client.client import MAX_ANSWER_BYTES, HttpClient
from sidelight.base.http_client.proxy import ProxySettingError
from sidelight.base.tls.config import ClientCertificate


def _proxy_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.path or parts.query or parts.fragment:
        raise ValueError("must be http://host:port; for a user and password write {env: NAME}")
    return url


class OutgoingConnection(Section):
    """How to connect to a server."""

    proxy: Annotated[HttpUrl, AfterValidator(_proxy_url)] | Secret | None = Field(
        None,
        description="HTTP proxy, `http://host:port`, or `{env: NAME}` or `{file: PATH}` if the URL "
        "holds a password. none: that of HTTPS_PROXY or HTTP_PROXY.",
    )
    ca: Path | None = Field(
        None,
        description="Certificate authorities that are trusted, in PEM. Changed files are used for "
        "new connections. none: those of the system, or of SSL_CERT_FILE.",
    )
    client_certificate: ClientCertificate | None = Field(
        None, description="Certificate for servers that ask for one. none: no certificate."
    )

    def proxy_url(self) -> str | None:
        """The URL of the configured proxy, with credentials. Raises `ProxySettingError`."""
        if not isinstance(self.proxy, Secret):
            return self.proxy
        try:
            url = self.proxy.read()
        except ConfigError as error:
            raise ProxySettingError(f"proxy: {error}") from None
        if url is None:
            raise ProxySettingError(f"proxy: the secret {self.proxy} is not set; set it")
        return url

    def http_client(
        self, url: str, timeout_seconds: float, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> HttpClient:
        """A client for `url` with these settings. Nothing is connected or read yet."""
        return HttpClient(
            url,
            timeout_seconds,
            max_answer_bytes,
            proxy=self.proxy_url,
            ca=self.ca,
            client_certificate=self.client_certificate,
        )
