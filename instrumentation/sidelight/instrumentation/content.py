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


class Clipper:
    """Texts of one attribute, cut so that together they stay within `max_bytes`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._left = settings.max_bytes
        self.truncated = False

    def text(self, text: str) -> str:
        """`text` within its own cap and within what the texts before it have left."""
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
