"""Spans of real instrumentations need no repair, and hardly any is opened to see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.collector import traffic
from sidelight.collector.processors.common.start import start
from sidelight.collector.processors.repair.suspects import Suspects
from sidelight.otlp.otlp_pb2 import Request


@pytest.mark.parametrize("payload", [traffic.mix, traffic.demo])
def test_recorded_spans_stay_closed(payload: Callable[[int], list[bytes]]) -> None:
    """Opening them would cost more than all other processing."""
    body = payload(1024)[0]
    request = Request.FromString(body)
    suspects = Suspects(body, [each.resource.SerializeToString() for each in request.resources])
    opened = sum(
        len(suspects.among(list(scope.items), list(map(start, scope.items))))
        for resource in request.resources
        for scope in resource.scopes
    )
    assert opened < 1024 / 50
