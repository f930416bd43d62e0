"""Files of objectives: what is read, and what is refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.catalog.metric import CatalogMetric
from sidelight.dashboards.slo.objective import (
    DEFAULT_FILE,
    Objective,
    ObjectiveError,
    read_objectives,
)
from support.vllm_exposition import recording

TTFT = {
    "name": "ttft",
    "indicator": "time_to_first_token",
    "objective": "99.5%",
    "threshold": 2.5,
}


def _read(tmp_path: Path, *objectives: object) -> tuple[Objective, ...]:
    path = tmp_path / "slo.yaml"
    path.write_text(yaml.safe_dump({"objectives": list(objectives)}))
    return read_objectives(path)


def test_the_published_objectives_are_read() -> None:
    """With their shares and what they promise."""
    promises = {objective.name: objective.promise for objective in read_objectives()}
    assert promises["time-to-first-token"] == "99% within 1 s"
    assert promises["availability"] == "99.9%"
    assert not next(one for one in read_objectives() if one.name == "search").required
    assert DEFAULT_FILE.is_file()


def test_every_key_is_read(tmp_path: Path) -> None:
    """And a share may be a number too."""
    more = {"window": "7d", "minimum_events": 100, "filters": {"model": "llama"}}
    [objective] = _read(tmp_path, TTFT | more | {"objective": 0.95})
    assert (objective.days, objective.minimum_events, objective.share) == (7, 100, 0.95)
    assert objective.budget == pytest.approx(0.05)
    assert objective.view("5m").filters == {"model": "llama"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"threshold": 3},
            r"no exported bucket ends at 3 s, so nobody can count what is slower; "
            r"use one of 2\.5 and 5$",
        ),
        ({"threshold": 10_000}, "use one of 2560$"),
        ({"threshold": None}, "`threshold` is missing or no number; give the seconds"),
        ({"objective": "100%"}, r"the objective 100% is no share below 100 %; write it like"),
        ({"objective": "often"}, "the objective often is no share"),
        ({"indicator": "speed"}, "the indicator speed is unknown; use one of time_to_first_token"),
        ({"indicator": "availability"}, "this indicator takes no time; delete `threshold`"),
        ({"window": "1h"}, "the window 1h is not one of 1d to 90d; write it like 30d"),
        ({"window": "91d"}, "the window 91d is not one of"),
        ({"minimum_events": 0}, "`minimum_events` must be a number of at least 1"),
        ({"filters": {"modle": "x"}}, "unknown filter modle; known are job, namespace, instance"),
        ({"name": "Time to first"}, "small letters, digits and hyphens; rename it"),
        ({"treshold": 1}, "unknown key treshold; known are filters, indicator"),
    ],
)
def test_a_fault_is_named_with_what_to_do(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """In which file and objective, and what is right."""
    with pytest.raises(ObjectiveError, match=message) as refused:
        _read(tmp_path, TTFT | change)
    assert str(refused.value).startswith(f"{tmp_path / 'slo.yaml'}: objective ")


def test_a_name_is_used_once(tmp_path: Path) -> None:
    """Two objectives of one name would be one series."""
    with pytest.raises(ObjectiveError, match="ttft is there twice; rename one"):
        _read(tmp_path, TTFT, TTFT)


@pytest.mark.parametrize("text", ["objectives: [", "[]", "objectives: {}", "slos: []"])
def test_a_file_of_something_else(tmp_path: Path, text: str) -> None:
    """It says what is expected."""
    path = tmp_path / "slo.yaml"
    path.write_text(text)
    with pytest.raises(ObjectiveError, match=r"correct the file|write that"):
        read_objectives(path)


@pytest.mark.parametrize("metric", [vllm.TTFT, vllm.INTER_TOKEN, vllm.E2E])
def test_bounds_are_those_of_the_recording(metric: CatalogMetric) -> None:
    """An objective on a bound that vLLM does not export would never be missed."""
    for name in ("metrics-0.32-load.txt", "metrics-0.32-dp2-lora.txt"):
        [family] = [
            family
            for family in recording(name)
            if family.name == metric.series_names("value")[0][0]
        ]
        bounds = {dict(sample.labels).get("le") for sample in family.samples} - {None, "+Inf"}
        assert sorted(float(bound or 0) for bound in bounds) == list(metric.buckets)
