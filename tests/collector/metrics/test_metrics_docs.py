"""What docs/retrieval-health.md and docs/scraping.md say is what the code does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from sidelight import conventions as names
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.metrics.config import MetricsConfig
from sidelight.collector.metrics.delays import CAUSES
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.retrieval import drift
from sidelight.collector.metrics.retrieval.metrics import MAX_SCORE_SERIES, RetrievalMetrics
from sidelight.collector.metrics.usage import MAX_MODELS, UsageMetrics
from sidelight.collector.receivers.scrape.presets import PRESETS, address
from support import paths
from support.measured_spans import search, span
from support.memory import held_by

DOCS = paths.DOCS
COLLECTOR = "*/sidelight/collector/*"
HEALTH = (DOCS / "retrieval-health.md").read_text()
VLLM = (DOCS / "vllm.md").read_text()
SCRAPING = (DOCS / "scraping.md").read_text()


def table(text: str, mark: str) -> dict[str, list[str]]:
    """Rows of the table between a mark and its end: names in the first cell, and other cells."""
    part = text.split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}


def shown(metric: str) -> str:
    """A metric as it stands on /metrics."""
    total = "_total" if names.METRICS[metric].instrument == "counter" else ""
    return names.prometheus_name(metric) + total


def test_every_metric_is_named() -> None:
    """And none that does not exist."""
    assert set(table(HEALTH, "figures")) == {
        shown(metric) for metric in names.METRICS if metric.startswith("sidelight.retrieval.")
    }
    assert set(table(HEALTH, "usage")) == {
        shown(metric)
        for metric in (names.TOKENS, names.COST, names.REQUEST_DELAY, names.REQUEST_PREEMPTIONS)
    }


def test_the_examples_are_valid() -> None:
    """Each block of settings is one that the collector takes, with the defaults it has."""
    (measure,) = re.findall(r"```yaml\n(metrics:.*?)```", HEALTH, re.DOTALL)
    assert Config.model_validate(yaml.safe_load(measure)).metrics == MetricsConfig()
    (receive,) = re.findall(r"```yaml\n(receivers:.*?)```", SCRAPING, re.DOTALL)
    targets = Config.model_validate(yaml.safe_load(receive)).receivers.scrape.targets
    assert [each.job for each in targets] == ["vllm", "milvus", "qdrant", "node"]


def test_presets_are_as_described() -> None:
    """Port, path, and how many patterns."""
    rows = table(SCRAPING, "presets")
    assert set(rows) == set(PRESETS)
    for name, (url, families) in rows.items():
        assert url.strip("`") == address(PRESETS[name], "http://host")
        patterns = re.match(r"(\d+) patterns", families)
        assert len(PRESETS[name].families) == (int(patterns[1]) if patterns else 0)


def test_causes_are_as_described() -> None:
    """In the order in which a request meets them."""
    found = re.findall(r"^\| `(\w+)` \| ", VLLM.partition("| cause |")[2], re.MULTILINE)
    assert tuple(found) == CAUSES


def test_numbers_are_as_described() -> None:
    """Samples and bounds."""
    assert f"{drift.MIN_WINDOW} scores in the window and {drift.MIN_BASELINE} in" in HEALTH
    assert f"{MAX_SCORE_SERIES} series of scores" in HEALTH
    assert f"first {MAX_MODELS} models" in HEALTH


@pytest.mark.parametrize("wrong", [3600.0, 101 * 3600.0])
def test_a_baseline_that_does_not_fit_is_refused(wrong: float) -> None:
    """It would be no baseline, or take too much memory."""
    with pytest.raises(ValueError, match="between 2 and 100 times"):
        MetricsConfig.model_validate({"retrieval": {"drift_baseline_seconds": wrong}})


def test_memory_of_scores_is_as_described() -> None:
    """With every bucket's exemplar and a full baseline, and all that is remembered of spans."""
    kilobytes = int(re.findall(r"a series take at most (\d+) kB", HEALTH)[0])
    series = 3
    now = [0.0]
    retrieval = RetrievalMetrics(Registry(), clock=lambda: now[0])
    buckets = [bound * 0.999 for bound in names.SCORE_BUCKETS]
    told = [search(DB_COLLECTION=f"c{number}") for number in range(series)]
    with held_by(COLLECTOR) as held:
        for step in range(55):
            now[0] = 1800.0 * step
            for number in range(130 if step < 52 else 200):
                place = buckets[number % len(buckets)]
                scores = {names.VECTOR_SCORE_TOP: place, names.VECTOR_SCORE_GAP: place}
                retrieval.observe([(names.SCOPE_VECTORDB, span(each | scores)) for each in told])
    remembered = 450_000
    assert held.bytes < series * kilobytes * 1000 + remembered
    assert MAX_SCORE_SERIES * kilobytes * 1000 + remembered < 4_000_000


def test_memory_of_counted_calls_is_as_described() -> None:
    """However many calls come, so much of them is remembered."""
    (megabytes,) = re.findall(r"in less than (\d+) MB", HEALTH)
    usage = UsageMetrics(Registry())
    told: dict[str, Any] = {names.SPAN_KIND: "LLM", names.INPUT_TOKENS: 1, names.USAGE_COST: 1.0}
    around = span({})
    with held_by(COLLECTOR) as held:
        for number in range(10_000):
            parent = around._replace(span_id=number.to_bytes(8, "big"))
            answer = {names.RESPONSE_ID: f"chatcmpl-{number}"}
            usage.observe("api", span(told | answer, parent=parent))
    assert held.bytes < int(megabytes) * 1_000_000
