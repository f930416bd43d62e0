"""Builds the pipeline that the configuration asks for."""

from __future__ import annotations

import os

from sidelight.collector.processors.config import ProcessorsConfig
from sidelight.collector.processors.content import processor as content
from sidelight.collector.processors.cost import prices
from sidelight.collector.processors.extensions import processor as extensions
from sidelight.collector.processors.limits.processor import LimitsProcessor
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.collector.processors.redact import processor as redact

HASH_KEY_BYTES = 32


def build(section: ProcessorsConfig, hash_key: bytes | None = None) -> Pipeline:
    """The pipeline of a configuration, with a `hash_key` for one that names none.

    Raises `ConfigError` for what only shows when parts are built: a pattern RE2 does not know,
    a secret that is missing, a faulty price table, an extension that cannot be imported.
    """
    return Pipeline(
        content=content.build(section.content, hash_key or os.urandom(HASH_KEY_BYTES)),
        redact=redact.build(section.redact),
        prices=None if section.prices is None else prices.load(section.prices),
        extensions=[extensions.load(extension) for extension in section.extensions],
        limits=LimitsProcessor(section.limits.attributes, section.limits.attribute_bytes),
        repairs=True,
    )
