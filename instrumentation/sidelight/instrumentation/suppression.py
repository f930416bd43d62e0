"""Whether spans are wanted at all, as the OpenTelemetry context says."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

# Set by `suppress_instrumentation()` of opentelemetry-instrumentation and by old exporters.
_PLAIN_KEY: Final = "suppress_instrumentation"
# The SDK sets it while it exports, as does OpenInference's `suppress_tracing()`. The constant's
# name has an underscore, and its text is another one in each process.
_KEY_NAME: Final = "_SUPPRESS_INSTRUMENTATION_KEY"


def is_suppressed(context: Mapping[str, Any]) -> bool:
    """Whether `context` was set to have no spans, as an exporter does around its own calls.

    `suppress_http_instrumentation()` is for HTTP clients, and does not count.
    """
    if not context:
        return False
    key = getattr(_contexts(), _KEY_NAME, _PLAIN_KEY)
    return bool(context.get(key) or context.get(_PLAIN_KEY))


def is_suppressed_now() -> bool:
    """The same for the current context; False in a process without OpenTelemetry."""
    contexts = _contexts()
    return contexts is not None and is_suppressed(contexts.get_current())


def _contexts() -> Any:
    # Not imported: vLLM's server may run without it.
    return sys.modules.get("opentelemetry.context")
