"""A secret for calls that fail, and which spans tell it."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan

SECRET = "Jane Doe 4711"


def tells_secret(span: ReadableSpan) -> bool:
    """Whether a word of the secret is anywhere in a span."""
    # Not ids and times, in which the digits occur by chance.
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    shown = str((span.name, dict(span.attributes or {}), span.status.description, events))
    return any(word in shown for word in SECRET.split())
