"""Spans of all other scopes: whatever known names they hold."""

from __future__ import annotations

from types import MappingProxyType

from sidelight.collector.processors.normalise.instrumentors.older_conventions import (
    OLD_DATABASE,
    OLD_GENAI,
)
from sidelight.collector.processors.normalise.instrumentors.openinference import (
    OPENINFERENCE_COPIED,
    OPENINFERENCE_NAMES,
)
from sidelight.collector.processors.normalise.instrumentors.openllmetry import (
    TRACELOOP,
    TRACELOOP_KINDS,
)
from sidelight.collector.processors.normalise.table import Table

PLAIN = Table(
    name="Plain GenAI and OpenInference names",
    hints=(b"gen_ai.", b"openinference.span.kind"),
    renamed=MappingProxyType({**OLD_GENAI, **OPENINFERENCE_NAMES, **TRACELOOP, **OLD_DATABASE}),
    copied=OPENINFERENCE_COPIED,
    kind_attribute="traceloop.span.kind",
    kinds=TRACELOOP_KINDS,
)
