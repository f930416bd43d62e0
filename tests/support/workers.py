"""What tests of several workers share."""

from __future__ import annotations

from support.collector import Collector
from support.span_load import new_ids, request_of


def spread(collector: Collector, requests: int = 40) -> list[bytes]:
    """Spans over so many connections that no worker can have got none."""
    ids: list[bytes] = []
    for _ in range(requests):
        mine = new_ids(2)
        assert collector.post(request_of(mine))[0] == 200
        ids += mine
    return ids
