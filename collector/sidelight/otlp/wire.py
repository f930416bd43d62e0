"""What is done to bytes in C, where `scripts/compile.py` could compile it.

Each but `attribute` may say that they are not sure. Protobuf and Python then do the work, so a span
that is written unlike all others, and an installation without a compiler, get the same results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

NOT_SURE: Final = 0
VALID: Final = 1
CLEAN: Final = 2
"""Answers of `survey`. `CLEAN` is valid, and holds nothing that `processors.repair` changes and no
span with bad ids."""

HAS_C: bool
"""Whether it is compiled here."""

if TYPE_CHECKING:
    from sidelight.otlp._wire import WalkedSpan, attribute, kin, survey, walk
else:
    try:
        from sidelight.otlp._wire import WalkedSpan, attribute, kin, survey, walk

        HAS_C = True
    except ImportError:
        HAS_C = False
        WalkedSpan = type(None)

        def survey(schema, data, whole_bytes, max_parts):  # noqa: ARG001
            """Nothing is known of any message."""
            return NOT_SURE

        def walk(item):
            """No span can be walked."""

        def kin(spans, starts):
            """Nothing is known of any span."""

        def attribute(name, value):
            """Only for spans that were walked."""
            raise NotImplementedError


__all__ = [
    "CLEAN", "HAS_C", "NOT_SURE", "VALID", "WalkedSpan", "attribute", "kin", "survey", "walk",
]  # fmt: skip
