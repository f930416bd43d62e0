"""One collector and its destination for all tests of the receivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.collector import Collector, settings
from support.otlp_store import OtlpStore


@pytest.fixture(scope="package")
def store() -> Iterator[OtlpStore]:
    """Where the collector sends to."""
    with OtlpStore() as store:
        yield store


@pytest.fixture(scope="package")
def collector(tmp_path_factory: pytest.TempPathFactory, store: OtlpStore) -> Iterator[Collector]:
    """A running collector with small limits."""
    directory = tmp_path_factory.mktemp("receive")
    config = settings(
        directory,
        receivers={
            "otlp_http": {"port": 0, "max_body_bytes": 1 << 20, "max_decompressed_bytes": 4 << 20},
            "otlp_grpc": {"port": 0, "max_message_bytes": 4 << 20},
        },
        destinations=[store.destination()],
    )
    with Collector(config, directory) as collector:
        yield collector
