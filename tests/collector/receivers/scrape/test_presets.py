"""Scrape presets: where a kind of server is, and which of its families are kept."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from sidelight.collector.receivers.scrape.config import ScrapeTarget
from sidelight.collector.receivers.scrape.presets import PRESETS
from sidelight.collector.receivers.scrape.text_format import TextReader
from support import paths

DATA = paths.DATA
MILVUS = DATA / "vectordb" / "milvus-2.3.5-metrics.txt"
VLLM = DATA / "vllm" / "metrics-0.32-load.txt"
QDRANT = DATA / "vectordb" / "qdrant-metric-names.txt"


def target(**values: Any) -> ScrapeTarget:
    """A target as the configuration has it."""
    return ScrapeTarget.model_validate(values)


def kept(preset: str, text: str) -> set[str]:
    """Names of the families that a preset keeps of an exposition."""
    reader = TextReader({}, PRESETS[preset].families)
    return {family.name for family in reader.read(text, openmetrics=False)}


@pytest.mark.parametrize(
    ("preset", "url", "full"),
    [
        ("milvus", "http://milvus", "http://milvus:9091/metrics"),
        ("milvus", "http://milvus/", "http://milvus:9091/metrics"),
        ("milvus", "http://milvus:19091", "http://milvus:19091/metrics"),
        ("milvus", "http://[::1]/own", "http://[::1]:9091/own"),
        ("qdrant", "https://qdrant", "https://qdrant:6333/metrics"),
        (
            "qdrant",
            "http://qdrant?per_collection=true",
            "http://qdrant:6333/metrics?per_collection=true",
        ),
        ("vllm", "http://vllm:8000/metrics", "http://vllm:8000/metrics"),
    ],
)
def test_a_preset_fills_port_path_and_job(preset: str, url: str, full: str) -> None:
    """What the url names stays, and the job is the preset's name."""
    found = target(preset=preset, url=url)
    assert (found.url, found.job) == (full, preset)


def test_what_is_said_wins_over_the_preset() -> None:
    """Job and families of one's own."""
    found = target(preset="milvus", url="http://m", job="milvus-eu", families=["milvus_num_node"])
    assert (found.job, found.families) == ("milvus-eu", ("milvus_num_node",))


def test_without_a_preset_nothing_is_filled_or_left_out() -> None:
    """The url is what is scraped, and all of it is kept."""
    found = target(url="http://own:1234/stats")
    assert (found.url, found.job, found.families) == ("http://own:1234/stats", "vllm", ())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "chroma", "url": "http://chroma:8000"}, "let it send OTLP"),
        ({"preset": "weaviate", "url": "http://w"}, "'vllm', 'milvus', 'qdrant' or 'chroma'"),
        ({"preset": "milvus", "url": "nowhere"}, "with a host"),
        ({"preset": "milvus", "url": "http://m:99999"}, "[Pp]ort"),
        ({"preset": "milvus", "url": 7}, "valid string"),
        ({"preset": ["milvus"], "url": "http://m"}, "'vllm', 'milvus', 'qdrant' or 'chroma'"),
    ],
)
def test_mistakes_are_explained(values: dict[str, Any], message: str) -> None:
    """A preset that does not exist, cannot be scraped, or has no host to fill."""
    with pytest.raises(ValidationError, match=message):
        target(**values)


class TestMilvus:
    def test_half_of_the_lines_say_what_matters(self) -> None:
        """Of the 147 recorded families a third is kept, under the names they have."""
        text = MILVUS.read_text()
        found = kept("milvus", text)
        announced = {
            line.split()[2].removesuffix("_total")
            for line in text.splitlines()
            if line.startswith("# TYPE ")
        }
        assert found <= announced
        assert 45 <= len(found) <= 60
        assert {
            "milvus_proxy_req_count",
            "milvus_proxy_sq_latency",
            "milvus_querynode_sq_core_latency",
            "milvus_querynode_sq_wait_tsafe_latency",
            "milvus_querynode_segment_num",
            "milvus_datacoord_stored_rows_num",
            "process_cpu_seconds",
        } <= found
        assert not [name for name in found if name.startswith(("go_", "internal_", "knowhere_"))]

    def test_every_pattern_finds_something(self) -> None:
        """None is a misspelling."""
        for pattern in PRESETS["milvus"].families:
            reader = TextReader({}, [pattern])
            assert reader.read(MILVUS.read_text(), openmetrics=False), pattern

    def test_kept_samples_are_those_of_the_whole(self) -> None:
        """A family that is kept is kept with all of its samples."""
        text = MILVUS.read_text()
        reader = TextReader({"job": "milvus"}, PRESETS["milvus"].families)
        whole = {
            family.name: family
            for family in TextReader({"job": "milvus"}).read(text, openmetrics=False)
        }
        for _ in range(2):
            for family in reader.read(text, openmetrics=False):
                assert family == whole[family.name]


class TestQdrant:
    def test_every_pattern_finds_something(self) -> None:
        """Among the names in Qdrant's source, but for those that every process has."""
        names = [line.split()[0] for line in QDRANT.read_text().splitlines() if line[0] != "#"]
        # Some lines of the list tell several names at once: rest_responses_{total,avg}_…
        text = "".join(f"{re.sub('{.*}', 'avg', name)} 1\n" for name in names)
        for pattern in PRESETS["qdrant"].families:
            if not pattern.startswith("process_"):
                assert TextReader({}, [pattern]).read(text, openmetrics=False), pattern


def test_vllm_is_kept_whole() -> None:
    """The dashboards know names of many versions, and may know more tomorrow."""
    text = VLLM.read_text()
    whole = {family.name for family in TextReader({}).read(text, openmetrics=False)}
    assert kept("vllm", text) == whole > {"vllm:kv_cache_usage_perc", "process_cpu_seconds"}


def test_lines_of_other_families_are_not_looked_at() -> None:
    """They may even be malformed: what is not kept does no harm."""
    text = '# TYPE a_total counter\na_total{x="1"} 1\nb{ 2\n# TYPE c gauge\nc 3\n'
    (family,) = TextReader({}, ["a"]).read(text, openmetrics=False)
    assert (family.name, family.body) == ("a", 'a_total{x="1"} 1\n')
    (family,) = TextReader({}, ["a_total"]).read(text, openmetrics=False)
    assert family.name == "a"
