"""How captured text is cut to the caps of the settings, and says that it was cut."""

from __future__ import annotations

from sidelight.instrumentation.settings import Settings


def clip(text: str, settings: Settings) -> tuple[str, bool]:
    """`text` within the caps of `settings`, and whether it was cut.

    Under `truncated` the cap is in characters, and in any case the UTF-8 form stays within
    `max_bytes`. A cut never splits a character. Returns an empty text under `off` and `ids`.
    """
    if not settings.captures_text:
        return "", bool(text)
    kept = text
    if settings.capture_content == "truncated":
        kept = kept[: settings.max_characters]
    # A character is at most 4 bytes: most texts are cleared without encoding them.
    if len(kept) * 4 > settings.max_bytes:
        encoded = kept.encode("utf-8", "surrogatepass")
        if len(encoded) > settings.max_bytes:
            kept = encoded[: settings.max_bytes].decode("utf-8", "ignore")
    return kept, len(kept) < len(text)
