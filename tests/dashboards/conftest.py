"""The servers that the tests of queries share: each takes seconds to discover its targets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.dashboard_prometheus import Moment, Servers, run_servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A Prometheus with everything, and one where nothing has ever gone wrong."""
    with run_servers(tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@pytest.fixture
def prometheus(servers: Servers) -> Moment:
    """The Prometheus with a job for each way vLLM can look, and an eventful collector."""
    return servers.everything
