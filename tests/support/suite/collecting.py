"""Lets the processes of a run begin to collect in different places.

In a new clone pytest compiles each test module with its assertions, Python all else, and
Hypothesis reads the constants of both; they keep on disk what they have made. Processes that go
through the files in one order make each of them at the same moment, each for itself. Processes
that begin in different places find what another has made.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest


class StaggeredCollection:
    """The plugin of one process; `share` is how much of each folder it leaves for last, 0 to 1.

    The tests have the same order as without it.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._places: dict[object, int] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Turn the children of a folder round."""
        report = yield
        # Several places on the command line have an order that folders do not know.
        if isinstance(collector, pytest.Directory) and len(collector.config.args) == 1:
            children = report.result or []
            self._places.update((child, place) for place, child in enumerate(children))
            first = int(len(children) * self._share)
            report.result = children[first:] + children[:first]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Bring the tests into the order that all processes share."""
        items.sort(key=lambda item: [self._places.get(node, 0) for node in item.listchain()])
