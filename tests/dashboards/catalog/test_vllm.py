"""The catalog of names against the recorded history and a recorded exposition."""

from __future__ import annotations

import pytest

from sidelight.dashboards.catalog import vllm as catalog
from sidelight.dashboards.catalog.vllm import QUANTITIES, RECORDED_VERSIONS, Name, Quantity
from support.vllm_exposition import history, recording

HISTORY = history()
RECORDED_KINDS = {family.name: family.kind for family in recording("metrics-0.32-load.txt")}
NAMES = [(key, name) for key, quantity in QUANTITIES.items() for name in quantity.names]


def test_the_catalog_knows_the_recorded_releases() -> None:
    """Every recorded release, in order."""
    assert tuple(HISTORY) == RECORDED_VERSIONS


@pytest.mark.parametrize("version", RECORDED_VERSIONS)
@pytest.mark.parametrize(("key", "name"), NAMES, ids=lambda value: getattr(value, "name", value))
def test_names_are_valid_exactly_where_they_were_recorded(
    version: str, key: str, name: Name
) -> None:
    """A name's first and last release are those of the history."""
    assert name.exported_by(version) == (name.name in HISTORY[version])


@pytest.mark.parametrize("version", RECORDED_VERSIONS)
@pytest.mark.parametrize("key", QUANTITIES)
def test_every_release_exports_every_quantity(version: str, key: str) -> None:
    """No quantity is without a name in any recorded release."""
    assert any(name.exported_by(version) for name in QUANTITIES[key].names)


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES)
def test_kinds_are_those_of_the_recording(quantity: Quantity) -> None:
    """Counter, gauge or histogram as vLLM really declares it."""
    assert RECORDED_KINDS[f"vllm:{quantity.names[0].name}"] == quantity.kind


def test_names_stand_from_newest_to_oldest() -> None:
    """Where a release has two names, the one that lives on is preferred."""
    for quantity in QUANTITIES.values():
        lasts = [RECORDED_VERSIONS.index(name.last) for name in quantity.names]
        assert lasts == sorted(lasts, reverse=True)


def test_defined_names_hold_what_is_really_scraped() -> None:
    """Counters are defined with `_total`, histograms by their three series, in every prefix."""
    defined = catalog.defined_names()
    assert {
        "vllm:num_preemptions_total",
        "vllm_num_preemptions_total",
        "ray_vllm_num_preemptions_total",
        "vllm:iteration_tokens_total_bucket",
        "vllm:kv_cache_usage_perc",
        "gen_ai_server_request_duration_seconds_bucket",
        "sidelight_collector_lag_seconds",
    } <= defined
    # The names that alert rules in the wild wait for in vain.
    assert "vllm:num_preemptions" not in defined
    assert "vllm:iteration_tokens_total" not in defined


def test_an_unknown_release_is_refused() -> None:
    """The catalog does not guess about releases that were never recorded."""
    with pytest.raises(ValueError, match=r"1\.0\.0"):
        catalog.KV_USAGE.names[0].exported_by("1.0.0")
