"""The guard of the hot path counts the same each time, and tells what grew."""

from __future__ import annotations

import json
import re
import time

import pytest

from bench.collector import calls, page


class _Finalizer:
    """Refers to itself, so that only the garbage collector finds it, and then calls functions."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        str(id(self))


def test_the_paths_of_the_baseline() -> None:
    """The committed file has a figure for each path."""
    assert json.loads(calls.BASELINE.read_text()).keys() == calls.PATHS.keys()


def test_the_page_has_the_baseline() -> None:
    """docs/benchmarks.md says what the committed file says."""
    rows = re.findall(r"^\| [a-z ,]+ \| (\d+) \| [\d.]+ \|$", page.PAGE.read_text(), re.MULTILINE)
    baseline = json.loads(calls.BASELINE.read_text())
    assert rows == [f"{figure:.0f}" for figure in baseline.values()]


def test_what_grew_is_told() -> None:
    """A quarter more is a fault, less is none; a new path has to be written down."""
    before = {"a": 100.0, "b": 100.0}
    sentences = calls.grown(before, {"a": 126.0, "b": 124.0, "c": 1.0})
    assert [sentence.partition(":")[0] for sentence in sentences] == ["a", "c"]


@pytest.fixture(scope="module")
def before() -> dict[str, float]:
    """Counts to compare others with."""
    return calls.counted(requests=1)


def test_counts_do_not_depend_on_time(
    before: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the same at another time: a busy machine fails no benchmark."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_900_000_000_123_456_789)
    assert calls.counted(requests=1) == pytest.approx(before, rel=0.01)


def test_counts_do_not_depend_on_what_the_process_holds(before: dict[str, float]) -> None:
    """Garbage with finalizers, as other tests leave, costs no calls."""
    for _ in range(50_000):
        _Finalizer()
    assert calls.counted(requests=1) == pytest.approx(before, rel=0.01)
