"""From a configured destination to the object that sends to it."""

from __future__ import annotations

from sidelight.collector.config import (
    AnyDestination,
    LangfuseDestination,
    OtlpDestination,
    PhoenixDestination,
)
from sidelight.collector.send import langfuse, otlp, phoenix
from sidelight.collector.send.outcome import Destination


def build(config: AnyDestination) -> Destination:
    """The destination; nothing is connected yet and no secret read.

    Raises `ConfigError` for a project or header name that HTTP cannot carry.
    """
    match config:
        case PhoenixDestination():
            return phoenix.build(config)
        case LangfuseDestination():
            return langfuse.build(config)
        case OtlpDestination():
            return otlp.build(config)
