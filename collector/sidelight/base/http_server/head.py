"""Refuses heads that another server could read in another way: so requests are smuggled.

httptools refuses bare line feeds, folded lines, and wrong or repeated lengths itself. What it
leaves to its user is here: RFC 9112, sections 3.2 and 6.1, and RFC 9110, section 5.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from sidelight.base.http_server.messages import RefusedError

# Which of two counts would be up to each server on the way.
SINGLE: Final = frozenset(
    {
        "access-control-request-method",
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "origin",
        "transfer-encoding",
    }
)
_VERSIONS: Final = ("1.0", "1.1")
# A host and perhaps a port; a space or a comma would be a second one.
_HOST: Final = re.compile(r"[^\s,/?#@\\]*")
_TARGET: Final = re.compile(rb"/[^#]*|https?://[^/?#]+[^#]*", re.IGNORECASE)


def check_head(target: bytes, version: str, headers: Mapping[str, str]) -> None:
    """Raise `RefusedError` if the head is ambiguous. `headers`: names in lower case."""
    if version not in _VERSIONS:
        raise bad_request("only HTTP/1.0 and HTTP/1.1 are served")
    if not _TARGET.fullmatch(target) and target != b"*":
        raise bad_request("the request target must be a path or an http:// or https:// URL")
    host = headers.get("host")
    if host is None:
        if version != "1.0":
            raise bad_request("the Host header is missing")
    elif not _HOST.fullmatch(host):
        raise bad_request("the Host header is not a host")
    coding = headers.get("transfer-encoding")
    # HTTP/1.0 has no such header: a server of it reads the chunks as the next request.
    if coding is not None and (coding.lower() != "chunked" or version == "1.0"):
        raise bad_request("Transfer-Encoding must be chunked, in HTTP/1.1; use Content-Encoding")


def bad_request(sentence: str) -> RefusedError:
    """The refusal of a request that is not valid HTTP."""
    return RefusedError(HTTPStatus.BAD_REQUEST, sentence)
