"""Batches are stored, and sent on, as `log.compression` has them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from support.backend import Backend
from support.collector import Collector, settings
from support.span_load import new_ids, request_of
from support.waiting import eventually


@pytest.mark.parametrize(("compression", "encoding"), [("gzip", "gzip"), ("none", None)])
def test_a_batch_goes_out_as_configured(
    tmp_path: Path, compression: str, encoding: str | None
) -> None:
    """The backend is told the encoding, and finds in it what was sent."""
    body = request_of(new_ids(3))
    with Backend() as backend:
        config = settings(
            tmp_path, destinations=[{"name": "store", "type": "otlp_http", "url": backend.url}]
        )
        config["log"]["compression"] = compression
        with Collector(config, tmp_path) as collector:
            assert collector.post(body)[0] == 200
            eventually(lambda: backend.requests)
        (request,) = backend.requests
    assert request.headers.get("content-encoding") == encoding
    received = gzip.decompress(request.body) if encoding else request.body
    assert received == body
