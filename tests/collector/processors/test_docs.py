"""The page on processors says what the data says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

from sidelight.collector.processors import pipeline
from sidelight.collector.processors.content.config import ContentPolicy
from sidelight.collector.processors.redact.config import RuleName
from sidelight.collector.processors.redact.rules import RULES
from support.paths import DOCS, ROOT

PAGE = DOCS / "processors.md"


def test_the_page_is_the_generated_one(tmp_path: Path) -> None:
    """`make config-docs` would change nothing."""
    subprocess.run([sys.executable, ROOT / "scripts" / "processors_page.py", tmp_path], check=True)
    assert (tmp_path / PAGE.name).read_text() == PAGE.read_text()


def test_every_processor_has_a_part() -> None:
    """Each folder with a processor has a page of its own, which is on the page."""
    page = PAGE.read_text()
    for processor in Path(pipeline.__file__).parent.glob("*/processor.py"):
        title = processor.with_name("page.md").read_text().splitlines()[0]
        assert f"\n{title}\n" in page


def test_every_policy_is_explained() -> None:
    """The page has a line for each content policy."""
    page = PAGE.read_text()
    assert all(f"| `{policy}` |" in page for policy in get_args(ContentPolicy))


def test_the_configuration_knows_every_rule() -> None:
    """The rules that can be configured are the rules there are, in their order."""
    assert get_args(RuleName) == tuple(rule.name for rule in RULES)
