"""A prefix before vLLM's names, everywhere and nowhere else."""

from __future__ import annotations

import json
import re

import pytest

from sidelight.dashboards.catalog.index import METRIC_BY_SERIES
from sidelight.dashboards.publish.files import render
from sidelight.dashboards.publish.metric_prefix import with_prefix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate(vllm:x_total[5m])", "rate(kserve_vllm:x_total[5m])"),
        ('{__name__=~"vllm:x|ray_vllm_x|vllm_x"}', '{__name__=~"k_vllm:x|k_ray_vllm_x|k_vllm_x"}'),
        ('job=~"vllm", tags: ["vllm"]', 'job=~"vllm", tags: ["vllm"]'),
        ("sidelight_vllm_x", "sidelight_vllm_x"),
    ],
)
def test_names_get_the_prefix(text: str, expected: str) -> None:
    """Under each of their forms; a job or a tag called vllm does not."""
    prefix = "kserve_" if "kserve_" in expected else "k_"
    assert with_prefix(text, prefix) == expected


def test_every_file_has_it() -> None:
    """No query reads a name of vLLM's without it, and the boards are still JSON."""
    for name, text in render(metric_prefix="kserve_").items():
        bare = set(re.findall(r"[A-Za-z_:][\w:]*", text)) & {
            series for series in METRIC_BY_SERIES if "vllm" in series
        }
        assert bare == set(), name
        if name.endswith(".json"):
            json.loads(text)
