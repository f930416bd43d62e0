"""docs/kubernetes/injector.md says what the injector does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from sidelight import conventions as c
from sidelight.injection.webhook.certificates.rotation import KEYS
from sidelight.injection.webhook.metrics import ErrorKind
from sidelight.injection.webhook.review import MAX_DEPTH, MAX_REVIEW_BYTES, Obstacle
from support.paths import DOCS, ROOT

TEXT = (DOCS / "kubernetes" / "injector.md").read_text()


def test_every_metric_is_told() -> None:
    """With its meaning."""
    rows = dict(re.findall(r"^\| `(sidelight_injector_\w+)` \| (.*?) \|", TEXT, re.MULTILINE))
    own = [each for each in c.METRICS.values() if each.name.startswith("sidelight.injector.")]
    assert rows == {
        c.prometheus_name(each.name) + ("_total" if each.instrument == "counter" else ""): (
            each.meaning
        )
        for each in own
    }


def test_every_reason_kind_and_key_is_told() -> None:
    """Of those that only the injector has."""
    for name in (*(obstacle.value for obstacle in Obstacle), *get_args(ErrorKind), *KEYS):
        assert f"`{name}`" in TEXT


def test_bounds_are_those_of_the_code() -> None:
    """Levels and size of a request."""
    assert f"more than {MAX_DEPTH} levels" in TEXT
    assert f"over {MAX_REVIEW_BYTES // 2**20} MiB" in TEXT


def test_figures_of_intervals_are_those_of_the_code() -> None:
    """Where a constant says them."""
    webhook = ROOT / "collector" / "sidelight" / "injection" / "webhook"
    for file, constant, said in (
        ("events.py", "_REPEAT_SECONDS: Final = 600.0", "one Event in ten minutes"),
        ("events.py", "_EVENT_SECONDS: Final = 0.2", "at most five a second"),
        ("certificates/keeper.py", "TRUST_SECONDS: Final = 300.0", "for five minutes"),
        ("certificates/rotation.py", "_REMAINING_SHARE: Final = 1 / 3", "After eight months"),
    ):
        assert constant in Path(webhook / file).read_text()
        assert said in TEXT
