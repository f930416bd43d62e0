"""The reference of sending: its examples are valid, and it names every key there is."""

from __future__ import annotations

import re

import pytest
import yaml
from pydantic import BaseModel

from sidelight import conventions as c
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.delivery.sampling.sampler import Decision
from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.common.matching import Match
from sidelight.collector.destinations.common.sampling import Sampling
from sidelight.collector.destinations.registry import TYPES
from support.paths import DOCS

TEXT = (DOCS / "sending.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(example: str) -> None:
    """Each can be put into sidelight.yaml as it stands."""
    assert Config.model_validate(yaml.safe_load(example)).destinations


def test_every_key_is_told() -> None:
    """What all destinations share; each page has the keys of its own."""
    models: tuple[type[BaseModel], ...] = (DestinationConfig, Match, Sampling)
    keys = {key for model in models for key in model.model_fields}
    missing = {key for key in keys if not re.search(rf"\b{key}\b", TEXT)}
    assert missing == set()
    assert {each for each in TYPES if f"`{each}`" not in TEXT} == set()


def test_every_reason_is_told() -> None:
    """Metrics and their labels are all in the table."""
    assert {each.name.lower() for each in Decision if each.name.lower() not in TEXT} == set()
    for metric in (c.COLLECTOR_WITHHELD, c.COLLECTOR_SAMPLED, c.COLLECTOR_LAG):
        assert c.prometheus_name(metric) in TEXT
