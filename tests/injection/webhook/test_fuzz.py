"""Whatever bytes are sent as a review over TLS: a valid answer or a 400, and the next is served."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.certificates import Authority
from support.fuzzing import inputs
from support.kubernetes.admission import RECORDED, checked, connected, review_over
from support.kubernetes.injector import Injector

_BODY = json.dumps(RECORDED[0]).encode()
_PIECES = (b"", b"{", b"}", b"[]", b'"', b"null", b"-1e999", b"\\ud800", b"\xff", b"\x00", b"true")
_CHANGES = st.lists(
    st.tuples(st.integers(0, len(_BODY)), st.integers(0, 24), st.sampled_from(_PIECES)),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[http.client.HTTPSConnection]:
    """One connection to a running injector; it must last for all inputs."""
    directory = tmp_path_factory.mktemp("injector")
    authority = Authority(directory)
    pair = authority.issue("tls")
    options = ("--certificate", pair.certificate, "--key", pair.key, "--no-events")
    with Injector(directory, *options) as injector:
        opened = connected(injector.port, authority.client(), "localhost")
        # A lost connection fails the test instead of being opened again under another name.
        opened.auto_open = 0
        yield opened
        assert review_over(opened, RECORDED[0]).patch
        opened.close()
        assert 'sidelight_injector_errors_total{kind="internal"}' not in injector.get("/metrics")[1]


@given(_CHANGES, st.sampled_from(["/inject", "/inject/namespace"]))
@inputs(150, 0.05)
def test_a_damaged_review_harms_nobody(
    connection: http.client.HTTPSConnection, changes: list[tuple[int, int, bytes]], path: str
) -> None:
    """Bytes of a recorded one are cut out and put in."""
    body = _BODY
    for place, length, piece in changes:
        body = body[:place] + piece + body[place + length :]
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status == 400:
        assert b"only an API server should call this path" in content
        return
    reviewed = checked(msgspec.json.decode(body), answer.status, content)
    if reviewed.patch:
        reviewed.applied(msgspec.json.decode(body)["request"]["object"])
