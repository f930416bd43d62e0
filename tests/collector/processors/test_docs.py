"""The reference page says what the data says."""

from __future__ import annotations

import re
from typing import get_args

from sidelight.collector.processors.content.config import ContentPolicy
from sidelight.collector.processors.redact.config import RuleName
from sidelight.collector.processors.redact.rules import RULES
from support.processors_reference import PAGE, parts, written


def test_the_page_is_up_to_date() -> None:
    """Every table of the page is the one made from the data: run `make generated`."""
    page = PAGE.read_text()
    assert written(page) == page


def test_every_part_has_its_place() -> None:
    """No table is left out of the page."""
    assert set(re.findall(r"<!-- ([a-z ]+) -->", PAGE.read_text())) == {*parts(), "end"}


def test_every_policy_is_explained() -> None:
    """The page has a line for each content policy."""
    page = PAGE.read_text()
    assert all(f"| `{policy}` |" in page for policy in get_args(ContentPolicy))


def test_the_configuration_knows_every_rule() -> None:
    """The rules that can be configured are the rules there are, in their order."""
    assert get_args(RuleName) == tuple(rule.name for rule in RULES)
