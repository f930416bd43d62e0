"""Builds the shaper that the configuration asks for."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.processors.common.search import BadPatternError, compiled
from sidelight.collector.processors.config import Content as ContentSection
from sidelight.collector.processors.config import ProcessorsConfig, Redact
from sidelight.collector.processors.content.processor import Content
from sidelight.collector.processors.cost import prices
from sidelight.collector.processors.extensions import processor as extensions
from sidelight.collector.processors.limits.processor import Limits
from sidelight.collector.processors.pipeline import Shaper
from sidelight.collector.processors.redact.processor import Redactor
from sidelight.collector.processors.redact.rules import RULES, Rule

HASH_KEY_BYTES = 32


def build(section: ProcessorsConfig, hash_key: bytes | None = None) -> Shaper:
    """The shaper of a configuration, with a `hash_key` for one that names none.

    Raises `ConfigError` for what only shows when parts are built: a pattern RE2 does not know,
    a secret that is missing, a faulty price table, an extension that cannot be imported.
    """
    return Shaper(
        content=_content(section.content, hash_key or os.urandom(HASH_KEY_BYTES)),
        redactor=_redactor(section.redact),
        prices=None if section.prices is None else _prices(section.prices),
        extensions=[extensions.load(each) for each in section.extensions],
        limits=Limits(section.limits.attributes, section.limits.attribute_bytes),
    )


def _prices(path: Path) -> prices.PriceTable:
    try:
        return prices.load(path)
    except ConfigError as error:
        faults = (f"processors.prices: {fault}" for fault in str(error).splitlines())
        raise ConfigError("\n".join(faults)) from None


def _content(section: ContentSection, hash_key: bytes) -> Content:
    try:
        default = section.effective_default()
    except ValueError as error:
        raise ConfigError(f"environment: {error}") from error
    return Content(
        default,
        section.services,
        max_characters=section.max_characters,
        hash_key=_hash_key(section, hash_key),
    )


def _hash_key(section: ContentSection, otherwise: bytes) -> bytes:
    if section.hash_key is None:
        return otherwise
    secret = section.hash_key.read()
    if secret is None:
        raise ConfigError(
            f"processors.content.hash_key: {section.hash_key} is empty: set it, or leave "
            "the key out for marks that change at each start"
        )
    return hashlib.sha256(secret.encode()).digest()


def _redactor(section: Redact) -> Redactor | None:
    if not section.enabled:
        return None
    rules = [rule for rule in RULES if rule.name in section.rules]
    taken = {rule.name for rule in RULES}
    for index, own in enumerate(section.patterns):
        where = f"processors.redact.patterns.{index}"
        if own.name in taken:
            raise ConfigError(f"{where}.name (is {own.name!r}): taken; give it another")
        taken.add(own.name)
        try:
            pattern = compiled(own.pattern)
        except BadPatternError as error:
            raise ConfigError(f"{where}.pattern: not RE2 syntax: {error}") from error
        if pattern.groups > 1:
            raise ConfigError(
                f"{where}.pattern: has {pattern.groups} groups; only one can say what to mask, "
                "write the others as (?:...)"
            )
        if pattern.search(b"") is not None:
            raise ConfigError(f"{where}.pattern: matches an empty text, so it would mask nothing")
        mark = own.mark or f"[{own.name}]"
        rules.append(Rule(own.name, "", own.pattern, mark, is_word=False, is_own=True))
    try:
        return Redactor(rules)
    except BadPatternError as error:
        raise ConfigError(f"processors.redact.patterns: {error}") from error
