"""Heads that two servers could read differently, without a server around them."""

from __future__ import annotations

import pytest

from sidelight.base.http_server.head import check_head
from sidelight.base.http_server.messages import RefusedError


@pytest.mark.parametrize(
    "host", ["a", "a.b:80", "[::1]:4318", "127.0.0.1", "my_service", "", "xn--e1afmkfd.example"]
)
def test_hosts(host: str) -> None:
    """Names, addresses, and the underscores of compose files."""
    check_head(b"/v1/traces", "1.1", {"host": host})


@pytest.mark.parametrize("target", [b"/", b"/a?b", b"http://a", b"HTTPS://a/b?c", b"*"])
def test_targets(target: bytes) -> None:
    """A path, what a proxy is sent, and OPTIONS's."""
    check_head(target, "1.1", {"host": "a"})


@pytest.mark.parametrize("coding", ["identity", "gzip, chunked", "chunked, chunked", "", "x"])
def test_codings_are_refused(coding: str) -> None:
    """All but chunked, with a sentence that says what to use instead."""
    check_head(b"/", "1.1", {"host": "a", "transfer-encoding": "Chunked"})
    with pytest.raises(RefusedError, match="use Content-Encoding"):
        check_head(b"/", "1.1", {"host": "a", "transfer-encoding": coding})
