"""Scraped expositions are read whole or refused whole, and gain labels without losing any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as text_families

from sidelight.collector.metrics.family import AnyFamily, ScrapedFamily
from sidelight.collector.receivers.scrape.text_format import MalformedExpositionError, TextReader
from support import openmetrics
from support.paths import DATA

RECORDED = sorted((DATA / "vllm").glob("metrics-*.txt"))
WHERE = {"job": "vllm", "instance": "127.0.0.1:8000"}

Samples = set[tuple[str, frozenset[tuple[str, str]], float]]


def rendered(families: Sequence[AnyFamily], accept: str) -> str:
    return openmetrics.exposition(openmetrics.Fixed(*families)).render(accept)[1].decode()


def as_openmetrics(families: list[ScrapedFamily]) -> str:
    return rendered(families, "application/openmetrics-text")


def read(text: str, **labels: str) -> list[ScrapedFamily]:
    return TextReader(labels).read(text, openmetrics=False)


def samples(families: object) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items()), sample.value)
        for family in families  # type: ignore[attr-defined]
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_every_recorded_sample_survives_with_its_labels(file: Path) -> None:
    """What vLLM says comes out the same in both formats, plus the target's labels."""
    text = file.read_text()
    expected = {
        (name, labels | frozenset(WHERE.items()), value)
        for name, labels, value in samples(text_families(text))
    }
    reader = TextReader(WHERE)
    for _ in range(2):  # the second time every series is known already
        families = reader.read(text, openmetrics=False)
        assert samples(openmetrics.parse(as_openmetrics(families))) == expected
        assert samples(text_families(rendered(families, "text/plain"))) == expected


def test_values_are_those_of_the_latest_scrape() -> None:
    """A series that is known from the last scrape still gets its new value."""
    reader = TextReader({})
    reader.read("a 1\nb 1\n", openmetrics=False)
    families = reader.read("a 2\n", openmetrics=False)
    assert [family.body for family in families] == ["a 2\n"]


def test_a_label_the_target_sets_itself_is_kept_under_another_name() -> None:
    """Own labels that collide are exported_<name>, as Prometheus does."""
    (family,) = read('a{job="mine",x="1"} 1\n', job="vllm")
    assert family.body == 'a{job="vllm",exported_job="mine",x="1"} 1\n'


def test_a_timestamp_is_not_mistaken_for_a_value() -> None:
    """Samples with timestamps keep their value, also when the last scrape looked alike."""
    reader = TextReader({})
    for stamp in (1700000000000, 1700000015000):
        (family,) = reader.read(f'a{{x="1"}} 7 {stamp}\n', openmetrics=False)
        assert family.body == 'a{x="1"} 7\n'


def test_creation_times_are_left_out() -> None:
    """`_created` gauges of counters and histograms go; a gauge that is only called so stays."""
    text = (
        "# TYPE a_total counter\na_total 1\n# TYPE a_created gauge\na_created 1.5e9\n"
        "# TYPE things_created gauge\nthings_created 3\n"
    )
    assert [family.name for family in read(text)] == ["a", "things_created"]


def test_a_counter_without_total_stays_queryable_by_its_name() -> None:
    """OpenMetrics knows no counter without `_total`, so such a one has no type."""
    (family,) = read("# TYPE requests counter\nrequests 3\n")
    assert (family.name, family.type) == ("requests", "unknown")


def test_a_gauge_and_a_counter_of_one_stem_both_stay() -> None:
    """`x` and `x_total` are one family in OpenMetrics; neither is lost for it."""
    text = "# TYPE x_total counter\nx_total 3\n# TYPE x gauge\nx 1\n"
    families = read(text)
    assert {family.name: family.type for family in families} == {
        "x_total": "unknown",
        "x": "gauge",
    }
    assert samples(openmetrics.parse(as_openmetrics(families))) == samples(text_families(text))


def test_bucket_bounds_are_canonical() -> None:
    """Go writes le="1", OpenMetrics wants le="1.0"."""
    text = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
    (family,) = read(text)
    assert family.body.startswith('h_bucket{le="1.0"} 1\nh_bucket{le="+Inf"} 2\n')


def test_a_target_that_insists_on_openmetrics_is_understood() -> None:
    """Counters are announced without `_total` there; exemplars and creation times are cut off."""
    text = (
        "# HELP a things\n# TYPE a counter\n"
        'a_total{x="1"} 5.0 # {trace_id="abc"} 1.0 1700000000.0\na_created{x="1"} 1.7e9\n# EOF\n'
    )
    (family,) = TextReader({}).read(text, openmetrics=True)
    assert (family.name, family.type, family.help) == ("a", "counter", "things")
    assert family.body == 'a_total{x="1"} 5.0\n'


@pytest.mark.parametrize(
    "line",
    [
        "<html><body>404</body></html>",
        "a",
        "a{",
        'a{x="1} 1',
        'a{x="1"}} 1',
        "a{x=1} 1",
        "a b",
        "a 1_000",
        "a １",
        'a{x="1",x="2"} 1',
        '{"a.b", x="1"} 1',
        "a-b 1",
        "1a 1",
    ],
)
def test_what_is_no_sample_is_refused_with_its_line(line: str) -> None:
    """One bad line refuses the scrape, since it would break the scrape of Sidelight itself."""
    with pytest.raises(MalformedExpositionError, match="line 2"):
        read(f"ok 1\n{line}\n")


def test_a_hostile_line_is_refused_in_linear_time() -> None:
    """A megabyte of almost-labels neither hangs nor passes."""
    with pytest.raises(MalformedExpositionError):
        read("a{" + 'x="",' * 200_000 + "x} 1\n")


@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "le"),
        st.text(st.characters(codec="utf-8")),
        min_size=1,
    ),
    st.text(st.characters(codec="utf-8")),
)
def test_any_label_value_and_help_survive(labels: dict[str, str], meaning: str) -> None:
    """Whatever stands in a label or a help text is the same after both escapings."""
    text = rendered([ScrapedFamily("a", "gauge", meaning, "")], "text/plain").replace("\r", "")
    text += "a{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels.items()) + "} 1\n"
    families = read(text)
    (family,) = openmetrics.parse(as_openmetrics(families))
    assert family.samples[0].labels == labels
    assert family.documentation.strip() == meaning.replace("\r", "").strip()


def quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
