"""The page on operating: every test, key and metric that it names is there."""

from __future__ import annotations

import re

from sidelight import conventions as c
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import is_live
from support.paths import DOCS, TESTS

_TEXT = (DOCS / "operating.md").read_text()


def _shown(metric: str) -> str:
    suffix = "_total" if c.METRICS[metric].instrument == "counter" else ""
    return f"{c.prometheus_name(metric)}{suffix}"


def test_every_proof_is_there() -> None:
    """Each file, and each test in it."""
    named = re.findall(r"`([a-z_/]+\.py)(?:::(\w+))?`", _TEXT)
    assert len(named) > 15
    for file, test in named:
        assert f"def {test}" in (TESTS / file).read_text(), (file, test)


def test_every_metric_is_told() -> None:
    """With its meaning, and how those of several workers become one."""
    rows = {
        name: (meaning, across)
        for name, meaning, across in re.findall(
            r"^\| `(\w+)` \| (.*) \| (sum|max|min) \|$", _TEXT, re.MULTILINE
        )
    }
    own = [each for each in c.METRICS.values() if each.name.startswith("sidelight.collector.")]
    assert rows == {_shown(each.name): (each.meaning, each.across) for each in own}


def test_every_metric_that_is_alerted_on_exists() -> None:
    """Under the name that Prometheus sees."""
    known = {_shown(each) for each in c.METRICS}
    assert set(re.findall(r"sidelight_collector_\w+", _TEXT)) <= known


def test_every_key_exists_and_is_live_where_it_is_said_to_be() -> None:
    """Of those named by their path."""
    for key in ("log.max_bytes", "log.keep_bytes", "log.directory", "serve.port", "serve.tls"):
        assert f"`{key}`" in _TEXT or f"<{key}>" in _TEXT
        section, name = key.split(".")
        assert name in type(getattr(Config(), section)).model_fields
    for key in ("destinations", "processors", "receivers.scrape", "logging", "shutdown_seconds"):
        assert is_live(key)
    for key in ("serve.port", "receivers.otlp_http.tls", "log.directory", "workers"):
        assert not is_live(key)
