"""Chooses the proxy for a URL, by one rule for everything that the collector connects to."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from sidelight.base.http_client.origin import Origin

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ProxySettingError(ValueError):
    """A proxy URL that cannot be used. The message names the setting and no credentials."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the value of Proxy-Authorization, a secret."""

    origin: Origin
    setting: str
    """The key or variable that names the proxy, for messages."""
    authorization: str | None = field(default=None, repr=False)
    url: str = field(default="", repr=False)
    """The configured URL, with credentials."""

    @property
    def place(self) -> str:
        """Host and port."""
        return self.origin.place


def proxy_for(url: str, environ: Mapping[str, str], explicit: str | None = None) -> Proxy | None:
    """The proxy for requests to `url`, None for a direct connection.

    `explicit`, a proxy URL from the configuration, wins over the environment. Otherwise
    HTTPS_PROXY or HTTP_PROXY apply, by the scheme of `url`, unless NO_PROXY excludes the host.
    As in curl the lower-case variable wins over the upper-case one, and HTTP_PROXY is ignored in
    a CGI program, where any client can set it through a request header named Proxy. Loopback
    addresses are never proxied by the environment.

    Raises `ProxySettingError`.
    """
    if explicit:
        return _parse(explicit, "proxy")
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    setting = _variable(f"{parts.scheme}_proxy", environ)
    if setting is None or _is_loopback(host) or _is_excluded(parts, host, environ):
        return None
    return _parse(environ[setting], setting)


def _variable(name: str, environ: Mapping[str, str]) -> str | None:
    """The variable that is set: `name` as it is or, second, in upper case."""
    names = [name]
    if name != "http_proxy" or "REQUEST_METHOD" not in environ:
        names.append(name.upper())
    return next((name for name in names if environ.get(name, "").strip()), None)


def _parse(text: str, setting: str) -> Proxy:
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(url)
        if parts.scheme != "http":
            raise ProxySettingError(
                f"{setting}: {parts.scheme}:// proxies are not supported; name an http:// proxy"
            )
        origin = Origin.of(parts)
    except ProxySettingError:
        raise
    except ValueError:
        # Not chained: the original message may quote the credentials.
        raise ProxySettingError(f"{setting}: not a proxy URL (http://host:port)") from None
    if not origin.host:
        raise ProxySettingError(f"{setting}: the proxy URL names no host")
    return Proxy(origin, setting, _authorization(parts), url)


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if address is None:
        return False
    # ::ffff:127.0.0.1; before Python 3.13 ipaddress does not count it as loopback.
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def _is_excluded(parts: SplitResult, host: str, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY lists the host.

    Entries are separated by commas or spaces: `*`, a domain (its subdomains included, with or
    without a leading dot), an address, or a network such as 10.0.0.0/8; each but `*` and a
    network may end in a port.
    """
    variable = _variable("no_proxy", environ)
    if variable is None:
        return False
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    address = _address(host)
    for entry in re.split(r"[,\s]+", environ[variable].lower()):
        if entry == "*":
            return True
        name, entry_port = _split_port(entry)
        if entry_port is not None and entry_port != port:
            continue
        if address is not None:
            if _is_in_network(address, name):
                return True
        elif name.strip(".") and f".{host}".endswith(f".{name.strip('.')}"):
            return True
    return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """An entry's name or address, and its port if it has one."""
    match = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})", entry)
    if match is None:  # a plain name, an IPv6 address without brackets, a network
        return entry, None
    port = match[2] or match[4]
    return match[1] or match[3], int(port) if port else None


def _is_in_network(address: Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
