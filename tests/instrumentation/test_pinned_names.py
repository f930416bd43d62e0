"""Names of `gen_ai.*` are those of the conventions' release that constraints.txt pins.

A raised pin that renames or drops one fails here, before panels, alerts and backends lose it.
"""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from sidelight import conventions
from sidelight.conventions import METRICS
from support.paths import ROOT

PREFIX = "gen_ai."
# Of others than OpenTelemetry, and why they are kept.
OF_OTHERS = {
    "gen_ai.usage.cost": "OpenLIT and Langfuse read it",
    "gen_ai.usage.total_tokens": "senders that know the sum alone",
    # The release of open-telemetry/semantic-conventions-genai that has it is in no package yet.
    "gen_ai.retrieval.top_k": "semantic-conventions-genai",
    "gen_ai.request.id": "vLLM's own tracing",
    "gen_ai.request.n": "vLLM's own tracing",
    "gen_ai.usage.num_sequences": "vLLM's own tracing",
}
# vLLM's own tracing writes these; none is of a convention.
OF_VLLM = "gen_ai.latency."


def _names(module: object) -> set[str]:
    values = (value for value in vars(module).values() if isinstance(value, str))
    return {str(value) for value in values if value.startswith(PREFIX)}


def test_every_name_is_in_the_pinned_release() -> None:
    """Or is known as another's; what the release has by now is on no such list."""
    pinned = _names(gen_ai_attributes) | _names(gen_ai_metrics)
    ours = _names(conventions)
    assert len(ours) > 40
    unknown = {name for name in ours - pinned if not name.startswith(OF_VLLM)}
    assert unknown == OF_OTHERS.keys()


class _Meter:
    """Keeps what a convention says of its instrument."""

    def create_histogram(self, name: str, unit: str, **_ignored: Any) -> tuple[str, str]:
        return name, unit


@pytest.mark.parametrize("name", [name for name in METRICS if name.startswith(PREFIX)])
def test_a_metric_has_the_convention_s_instrument_and_unit(name: str) -> None:
    """A histogram in seconds stays one."""
    create = getattr(gen_ai_metrics, f"create_{name.replace('.', '_')}")
    assert create(_Meter()) == (name, METRICS[name].unit)
    assert METRICS[name].instrument == "histogram"


def test_the_release_is_pinned() -> None:
    """To one version, in the file that installations of tests and images use."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert sum(pin.startswith("opentelemetry-semantic-conventions==") for pin in pins) == 1
