"""The page on durability: every test it names is there, and it names every key of the log."""

from __future__ import annotations

import re

from sidelight import conventions as c
from sidelight.collector.log.config import LogOptions
from support.paths import DOCS, TESTS

_TEXT = (DOCS / "durability.md").read_text()


def test_every_proof_is_there() -> None:
    """Each file, and each test in it."""
    named = re.findall(r"`([a-z_/]+\.py)(?:::(\w+))?`", _TEXT)
    assert len(named) > 15
    for file, test in named:
        assert f"def {test}" in (TESTS / file).read_text(), (file, test)


def test_every_key_is_told() -> None:
    """With its default, where that is a number that people write."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", _TEXT, re.MULTILINE))
    assert rows.keys() == LogOptions.model_fields.keys()
    assert float(rows["keep_seconds"]) == LogOptions().keep_seconds
    assert float(rows["dedupe_seconds"]) == LogOptions().dedupe_seconds
    for key in ("max_bytes", "keep_bytes", "segment_bytes", "max_pending_bytes"):
        number, unit = rows[key].split()
        factor = {"MiB": 1024**2, "GiB": 1024**3}[unit]
        assert int(number) * factor == getattr(LogOptions(), key)


def test_metrics_are_told() -> None:
    """By the names that Prometheus sees."""
    for metric in (c.COLLECTOR_DUPLICATES, c.COLLECTOR_DROPPED):
        assert c.prometheus_name(metric) in _TEXT
