"""The guard of the hot path counts the same each time, and tells what grew."""

from __future__ import annotations

import json

from bench.collector import calls


def test_the_paths_of_the_baseline() -> None:
    """The committed file has a figure for each path."""
    assert json.loads(calls.BASELINE.read_text()).keys() == calls.PATHS.keys()


def test_what_grew_is_told() -> None:
    """A quarter more is a fault, less is none; a new path has to be written down."""
    before = {"a": 100.0, "b": 100.0}
    sentences = calls.grown(before, {"a": 126.0, "b": 124.0, "c": 1.0})
    assert [sentence.partition(":")[0] for sentence in sentences] == ["a", "c"]


def test_counts_do_not_depend_on_time() -> None:
    """Twice the same, so that a busy machine does not fail the benchmark."""
    assert calls.counted() == calls.counted()
