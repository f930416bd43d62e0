"""The `processors` section, made of the section of each processor."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sidelight.base.configuration.section import Section
from sidelight.collector.processors.content.config import Content
from sidelight.collector.processors.extensions.config import Extension
from sidelight.collector.processors.limits.config import Limits
from sidelight.collector.processors.redact.config import Redact


class ProcessorsConfig(Section):
    """What happens to spans and log records before they are stored."""

    limits: Limits = Limits()
    content: Content = Content()
    redact: Redact = Redact()
    prices: Path | None = Field(None, description="YAML file of prices; none: no cost is set.")
    extensions: tuple[Extension, ...] = Field(
        (), description="Functions of your own, in the order in which they are called."
    )
