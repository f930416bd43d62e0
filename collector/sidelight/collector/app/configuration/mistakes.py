"""Finds mistakes of a valid configuration that a look at files and environment shows.

Nothing is connected to. Each mistake is one line: place, key, what is wrong and what to do.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from itertools import combinations
from urllib.parse import urlsplit

from sidelight.base.configuration.origins import Origins
from sidelight.base.configuration.section import ConfigError, Secret, Section
from sidelight.base.configuration.yaml_file import KeyPath
from sidelight.base.http_client.config import OutgoingConnection
from sidelight.base.tls.client import TlsFileError, check_files
from sidelight.base.tls.config import Tls
from sidelight.base.tls.server import make_context
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.folders import unusable
from sidelight.collector.app.listeners import Listener, listeners
from sidelight.collector.destinations.common.config import UrlDestination
from sidelight.collector.destinations.registry import type_of

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 (compared with, not listened on)

_Mistake = tuple[KeyPath, str]


def mistakes(config: Config, origins: Origins) -> list[str]:
    """A line for each mistake, by kind; blocks on files."""
    all_kinds = [*_ports(config), *_urls(config), *_files_and_secrets(config), *unusable(config)]
    return [
        f"{origins.place(path)}: {'.'.join(map(str, path))}: {text}" for path, text in all_kinds
    ]


def _ports(config: Config) -> Iterator[_Mistake]:
    # Port 0 is a different free port for each listener.
    used = [listener for listener in listeners(config) if listener.port]
    for first, second in combinations(used, 2):
        if _overlap(first, second):
            path = (*second.key.split("."), "port")
            yield path, f"{second.port} is also the port of {first.key}; set another"


def _overlap(first: Listener, second: Listener) -> bool:
    hosts = {first.host, second.host}
    return first.port == second.port and (len(hosts) == 1 or bool(hosts & set(_WILDCARDS)))


def _urls(config: Config) -> Iterator[_Mistake]:
    for number, destination in enumerate(config.destinations or ()):
        if not isinstance(destination, UrlDestination):
            continue
        urls: dict[KeyPath, str] = {("destinations", number, "url"): destination.url}
        for route_number, route in enumerate(destination.routes):
            if (url := getattr(route, "url", None)) is not None:
                urls["destinations", number, "routes", route_number, "url"] = url
        for path, url in urls.items():
            problem = _repetition(url) or type_of(destination).url_problem(url)
            if problem is not None:
                yield path, f"{problem} (is {url})"


def _repetition(url: str) -> str | None:
    repeated = re.search(r"(/[^/]+(?:/[^/]+)*)\1$", urlsplit(url).path)
    return None if repeated is None else f"repeats {repeated[1]}; write it once"


def _files_and_secrets(config: Config) -> Iterator[_Mistake]:
    # All of their data goes by routes, which have keys of their own.
    unused = {
        ("destinations", number)
        for number, destination in enumerate(config.destinations or ())
        if destination.routes and destination.unmatched == "drop"
    }
    for path, section, is_default in _sections(config, ()):
        match section:
            case Secret() if is_default and (section.is_optional or path[:-1] in unused):
                continue
            case Secret():
                problem = _secret(section)
            case Tls():
                problem = _listener_files(section, ".".join(map(str, path[:-1])))
            case OutgoingConnection():
                problem = _client_files(section)
            case _:
                continue
        if problem is not None:
            yield _placed(path, section, problem)


def _placed(path: KeyPath, section: Section, problem: str) -> _Mistake:
    """The problem at the key that it begins with, if it begins with one of the section."""
    name, separator, rest = problem.partition(": ")
    is_key = bool(separator) and name in type(section).model_fields
    return ((*path, name), rest) if is_key else (path, problem)


def _sections(
    value: object, path: KeyPath, is_default: bool = False
) -> Iterator[tuple[KeyPath, Section, bool]]:
    """Every section below a value, and whether it is a default."""
    if isinstance(value, Section):
        yield path, value, is_default
        for name in type(value).model_fields:
            is_set = name in value.model_fields_set
            yield from _sections(getattr(value, name), (*path, name), not is_set)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _sections(item, (*path, name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _sections(item, (*path, number))


def _secret(secret: Secret) -> str | None:
    try:
        if secret.read() is not None:
            return None
    except ConfigError as error:
        return f"{error}; correct the path, or let this user read it"
    if secret.env is not None:
        return f"the environment variable {secret.env} is not set; set it, or name another"
    return f"the file {secret.file} is empty; write the secret to it"


def _listener_files(tls: Tls, section: str) -> str | None:
    try:
        make_context(tls, section, ssl.CERT_REQUIRED)
    except ConfigError as error:
        return str(error).removeprefix(f"{section}.tls").removeprefix(": ").removeprefix(".")
    return None


def _client_files(section: OutgoingConnection) -> str | None:
    if section.ca is None and section.client_certificate is None:
        return None
    try:
        check_files(section.ca, section.client_certificate)
    except TlsFileError as error:
        return str(error)
    if getattr(section, "url", "").startswith("http://"):
        return "ca and client_certificate have no effect on an http:// url; write https://"
    return None
