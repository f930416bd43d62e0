"""Personal data and secrets masked in text, in linear time, with a count by rule."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sidelight.collector.processors.common.search import BadPatternError, Choice, Trigger, word
from sidelight.collector.processors.common.search import compiled as compile_pattern
from sidelight.collector.processors.redact.rules import Rule

# Masking can bring digits together that match only then; two passes are enough for the
# rules here, and patterns of the user must not go on for ever.
_MAX_PASSES = 4
# A match that its check refuses may hide a right one that begins a little later. Looking for
# it costs a new search from the next byte, which longer texts must not do: linear time.
_LOOK_INSIDE_BYTES = 64
# What may precede a match inside JSON text that could not be parsed (cut off by a cap).
_ESCAPE = r"\\[nrtbf]|\\u[0-9a-fA-F]{4}"
_BACKSLASH = 0x5C
# What makes a pattern of the user depend on what is around the text: it must be searched in the
# text itself, so every message is opened. To see one too many (an escaped $) only costs time.
_ANCHORS = re.compile(r"\\[AzbB]|(?<!\[)\^|\$")


@dataclass(frozen=True, slots=True)
class _Compiled:
    rule: Rule
    mark: bytes
    pattern: Any
    group: int
    skips_escape: bool
    # The same right behind a match: that match is masked, which makes a boundary.
    glued: Any = None


class Redactor:
    """Masks what the rules find. Raises `BadPatternError` for a rule RE2 cannot compile."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [_compiled(rule) for rule in rules]
        self._choice = Choice([rule.trigger or rule.body for rule in rules])
        self._opens_all = any(rule.is_own and _ANCHORS.search(rule.body) for rule in rules)
        self._triggers = [
            Trigger(patterns, are_bytes=not is_own)
            for is_own in (False, True)
            if (patterns := [_framed(rule) for rule in rules if rule.is_own == is_own])
        ]
        for rule in rules:
            masked = self.text(rule.mark.encode(), Counter())
            if masked != rule.mark.encode():
                raise BadPatternError(
                    f"the mark {rule.mark!r} of {rule.name} would itself be redacted to "
                    f"{masked.decode()!r}; choose another mark or a narrower pattern"
                )

    def suspects(self, items: Sequence[bytes]) -> Sequence[int]:
        """Indexes of the serialised messages in which a rule might find something."""
        if self._opens_all:
            return range(len(items))
        if len(self._triggers) == 1:
            return list(self._triggers[0].suspects(items))
        return sorted({index for trigger in self._triggers for index in trigger.suspects(items)})

    def text(self, text: bytes, counts: Counter[str]) -> bytes:
        """UTF-8 text with what the rules find masked; JSON stays JSON.

        Adds the number of things masked to `counts`, by name of the rule.
        """
        choice = self._choice.found_in(text)
        if not choice:
            return text
        if text[:1] in (b"{", b"["):
            masked = self._json(text, counts)
            if masked is not text:
                text, choice = masked, self._choice.found_in(masked)
        # JSON as well: a secret may be known by the key beside it.
        for _ in range(_MAX_PASSES):
            before = text
            for index in choice:
                text = _mask(self._rules[index], text, counts)
            if text is before:
                break
            choice = self._choice.found_in(text)
        return text

    def _json(self, text: bytes, counts: Counter[str]) -> bytes:
        """JSON text with its strings, keys and whole numbers masked; other text as it is."""
        try:
            parsed = json.loads(text)
            tally: Counter[str] = Counter()
            masked = self._value(parsed, tally)
            if not tally:
                return text
            written = json.dumps(masked, ensure_ascii=False, allow_nan=False)
            try:
                encoded = written.encode()
            except UnicodeEncodeError:  # half of a surrogate pair: only an escape can say it
                encoded = json.dumps(masked, allow_nan=False).encode()
        except (ValueError, RecursionError):
            return text
        counts.update(tally)
        return encoded

    def _value(self, value: Any, counts: Counter[str]) -> Any:
        if isinstance(value, str):
            return self._string(value, counts)
        if isinstance(value, list):
            return [self._value(item, counts) for item in value]
        if isinstance(value, dict):
            entries: dict[str, Any] = {}
            for key, inner in value.items():
                new = self._string(key, counts)
                # Two people's entries must not become one.
                while new != key and (new in entries or new in value):
                    new += "'"
                entries[new] = self._value(inner, counts)
            return entries
        if isinstance(value, int) and not isinstance(value, bool):
            text = str(value)
            masked = self._string(text, counts)
            return value if masked == text else masked
        return value

    def _string(self, text: str, counts: Counter[str]) -> str:
        data = text.encode("utf-8", "surrogatepass")
        masked = self.text(data, counts)
        return text if masked is data else masked.decode("utf-8", "surrogatepass")


def _mask(compiled: _Compiled, text: bytes, counts: Counter[str]) -> bytes:
    pieces: list[bytes] = []
    kept = position = 0
    while (
        match := _next(compiled, text, position, is_behind_match=kept == position > 0)
    ) is not None:
        start, end = match.span(compiled.group)
        if start < 0:  # the group of a user's pattern took no part in the match
            start, end = match.span()
        if compiled.skips_escape and start > position and text[start - 1] == _BACKSLASH:
            position = start + (5 if text[start : start + 1] == b"u" else 1)
            continue
        length = end - start
        if compiled.rule.check is not None:
            checked = compiled.rule.check(text[start:end])
            if checked is None:
                position = end if length > _LOOK_INSIDE_BYTES else start + 1
                continue
            length = checked
        if length == 0:  # a user's pattern that can be empty masks nothing there
            position = end + 1
            continue
        pieces += (text[kept:start], compiled.mark)
        kept = position = start + length
        counts[compiled.rule.name] += 1
    return b"".join((*pieces, text[kept:])) if pieces else text


def _next(compiled: _Compiled, text: bytes, position: int, *, is_behind_match: bool) -> Any:
    if is_behind_match and compiled.glued is not None:
        match = compiled.glued.match(text, position)
        if match is not None:
            return match
    return compiled.pattern.search(text, position)


def _framed(rule: Rule) -> str:
    pattern = rule.trigger or rule.body
    return word(pattern) if rule.is_word else pattern


def _compiled(rule: Rule) -> _Compiled:
    pattern = rule.body
    glued = None
    if rule.is_word:
        glued = compile_pattern(rf"({rule.body})(?:[^0-9A-Za-z]|$)")
        before = r"[^0-9A-Za-z.]|(?:^|[^0-9])\." if rule.is_number else "[^0-9A-Za-z]"
        pattern = rf"(?:^|{before}|{_ESCAPE})({rule.body})(?:[^0-9A-Za-z]|$)"
    compiled = compile_pattern(pattern)
    return _Compiled(
        rule,
        rule.mark.encode(),
        compiled,
        group=compiled.groups,
        skips_escape=not rule.is_word,
        glued=glued,
    )
