"""Refuses spans and log records with too many or too large attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import stringzilla

from sidelight.collector.processors.common.processed import Processed, Refusal, refuse
from sidelight.otlp.otlp_pb2 import LogTraits, Scopes, SpanTraits

Kind = Literal["span", "log record"]
_TRAITS: dict[Kind, type[SpanTraits] | type[LogTraits]] = {
    "span": SpanTraits,
    "log record": LogTraits,
}
# The byte before each attribute: the field's number and wire type.
_TAGS: dict[Kind, bytes] = {"span": b"\x4a", "log record": b"\x32"}
# Nothing of an attribute, and its tag and length.
_LEAST_BYTES = 2


@dataclass(frozen=True, slots=True)
class LimitsProcessor:
    """Backends pay for each attribute, and some refuse a whole batch for one that is too large."""

    attributes: int
    attribute_bytes: int

    def process(
        self, kind: Kind, scope: Scopes, items: Sequence[bytes], processed: Processed
    ) -> bool:
        """Take out those of the `items` of a scope that have more or larger attributes.

        Returns whether there were any.
        """
        faults = self.faults(kind, items)
        if faults is not None:
            refuse(faults, scope, processed)
        return faults is not None

    def faults(self, kind: Kind, items: Sequence[bytes]) -> list[Refusal | None] | None:
        """For each serialised item why it is refused, or None where it is not; None if none is."""
        # Most items are too small to hold so many attributes: their length alone says so.
        least = min(self.attributes * _LEAST_BYTES, self.attribute_bytes)
        if max(map(len, items), default=0) <= least:
            return None
        faults = [self._fault(kind, item) if len(item) > least else None for item in items]
        return faults if any(faults) else None

    def _fault(self, kind: Kind, item: bytes) -> Refusal | None:
        is_large = len(item) > self.attribute_bytes
        if not is_large and stringzilla.count(item, _TAGS[kind]) <= self.attributes:
            return None
        attributes = _TRAITS[kind].FromString(item).attributes
        if len(attributes) > self.attributes:
            sentence = (
                f"a {kind} may have {self.attributes} attributes (processors.limits.attributes)"
            )
        elif is_large and any(len(attribute) > self.attribute_bytes for attribute in attributes):
            sentence = (
                f"an attribute may have {self.attribute_bytes} bytes "
                "(processors.limits.attribute_bytes)"
            )
        else:
            return None
        return Refusal("attributes", sentence)
