"""Cuts captured text to the caps of the settings."""

from __future__ import annotations

from sidelight.instrumentation.settings import Settings


def clip(text: str, settings: Settings) -> tuple[str, bool]:
    """`text` cut to the caps of `settings`, and whether anything was cut.

    `truncated` limits the characters, and both `truncated` and `full` limit the bytes in UTF-8.
    A cut never splits a character. The text is empty under `off` and `ids`.
    """
    if not settings.captures_text:
        return "", bool(text)
    kept = text
    if settings.capture_content == "truncated":
        kept = kept[: settings.max_characters]
    # A character takes at most 4 bytes, so most texts need not be encoded to be measured.
    if len(kept) * 4 > settings.max_bytes:
        encoded = kept.encode("utf-8", "surrogatepass")
        if len(encoded) > settings.max_bytes:
            kept = encoded[: settings.max_bytes].decode("utf-8", "ignore")
    return kept, len(kept) < len(text)


class Clipper:
    """Cuts the texts of one attribute so that together they stay within `max_bytes`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._left = settings.max_bytes
        self.truncated = False

    def text(self, text: str) -> str:
        """`text` cut to its own cap and to the bytes that earlier texts have left."""
        kept, cut = clip(text, self._settings)
        if len(kept) * 4 > self._left:
            encoded = kept.encode("utf-8", "surrogatepass")
            if len(encoded) > self._left:
                kept, cut = encoded[: self._left].decode("utf-8", "ignore"), True
            self._left -= min(len(encoded), self._left)
        else:
            self._left -= len(kept) if kept.isascii() else len(kept.encode("utf-8", "replace"))
        self.truncated |= cut
        return kept
