"""The settings of the instrumentation, read from the environment.

A wrong value never stops the observed process: the default is used, and one warning names the
variable, the value and what is allowed.

| variable | default | meaning |
|---|---|---|
| `SIDELIGHT_DISABLED` | `false` | `true` installs nothing |
| `SIDELIGHT_CAPTURE_CONTENT` | `off` | `off`, `ids`, `truncated` or `full`, see below |
| `SIDELIGHT_CONTENT_MAX_CHARACTERS` | 1000 | cap on one text under `truncated` |
| `SIDELIGHT_CONTENT_MAX_BYTES` | 131072 | cap on one attribute under `truncated` and `full` |
| `SIDELIGHT_CONTENT_MAX_DOCUMENTS` | 20 | cap on the documents of one retrieval |
| `SIDELIGHT_VLLM_SPAN_KIND` | `auto` | `auto`, `llm` or `chain`: see `vllm.spans.server` |
| `SIDELIGHT_VLLM_OBSERVER` | `process` | or `thread`: what makes spans of vLLM's raw records |
| `SIDELIGHT_VLLM_STATS_WAIT_SECONDS` | 2 | how long a span waits for the engine's statistics |

How much content leaves the process:

- `off`: none. Spans have numbers only: counts, sizes, durations and scores.
- `ids`: ids of documents and users as well, but no text.
- `truncated`: prompts, answers and documents too, each text cut at a number of characters.
- `full`: prompts, answers and documents, up to the cap on the bytes of one attribute.

If Sidelight's variable is not set, `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is read:
`true` and the modes that write to spans mean `full`, everything else means `off`.
Vectors are never captured.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, cast, get_args

ContentPolicy = Literal["off", "ids", "truncated", "full"]
SpanKindPolicy = Literal["auto", "llm", "chain"]
ObserverPlace = Literal["process", "thread"]

DISABLED: Final = "SIDELIGHT_DISABLED"
CAPTURE_CONTENT: Final = "SIDELIGHT_CAPTURE_CONTENT"
MAX_CHARACTERS: Final = "SIDELIGHT_CONTENT_MAX_CHARACTERS"
MAX_BYTES: Final = "SIDELIGHT_CONTENT_MAX_BYTES"
MAX_DOCUMENTS: Final = "SIDELIGHT_CONTENT_MAX_DOCUMENTS"
VLLM_SPAN_KIND: Final = "SIDELIGHT_VLLM_SPAN_KIND"
VLLM_OBSERVER: Final = "SIDELIGHT_VLLM_OBSERVER"
VLLM_STATS_WAIT: Final = "SIDELIGHT_VLLM_STATS_WAIT_SECONDS"
OTEL_CAPTURE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
OTEL_DISABLED: Final = "OTEL_SDK_DISABLED"

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})
# The modes that the GenAI conventions define besides true and false.
_OTEL_CONTENT: Final[Mapping[str, ContentPolicy]] = {
    "span_only": "full",
    "span_and_event": "full",
    "event_only": "off",
    "no_content": "off",
}

_logger = logging.getLogger(__name__)
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the instrumentation of one process."""

    disabled: bool = False
    capture_content: ContentPolicy = "off"
    max_characters: int = 1_000
    max_bytes: int = 131_072
    max_documents: int = 20
    vllm_span_kind: SpanKindPolicy = "auto"
    vllm_stats_wait_seconds: float = 2.0
    vllm_observer: ObserverPlace = "process"

    @property
    def captures_ids(self) -> bool:
        """Whether ids of documents and users may leave the process."""
        return self.capture_content != "off"

    @property
    def captures_text(self) -> bool:
        """Whether text of prompts, answers and documents may leave the process."""
        return self.capture_content in ("truncated", "full")

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, logger: logging.Logger | None = None
    ) -> Settings:
        """The settings in `environ`, or in `os.environ` if it is None. Never raises.

        Wrong values are told to `logger`, which is this module's unless another is given.
        """
        read = _Reader(os.environ if environ is None else environ, logger or _logger)
        default = cls()
        return cls(
            disabled=read.flag(DISABLED) or read.flag(OTEL_DISABLED),
            capture_content=_content(read, default.capture_content),
            max_characters=read.number(MAX_CHARACTERS, default.max_characters, 0, 10**7),
            max_bytes=read.number(MAX_BYTES, default.max_bytes, 0, 10**8),
            max_documents=read.number(MAX_DOCUMENTS, default.max_documents, 0, 10_000),
            vllm_span_kind=cast(
                SpanKindPolicy,
                read.choice(VLLM_SPAN_KIND, get_args(SpanKindPolicy), default.vllm_span_kind),
            ),
            vllm_stats_wait_seconds=read.number(
                VLLM_STATS_WAIT, default.vllm_stats_wait_seconds, 0.0, 60.0
            ),
            vllm_observer=cast(
                ObserverPlace,
                read.choice(VLLM_OBSERVER, get_args(ObserverPlace), default.vllm_observer),
            ),
        )


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Whether nothing is to be installed. Logs nothing of other values, as the settings do that."""
    return any(environ.get(name, "").strip().lower() in _TRUE for name in (DISABLED, OTEL_DISABLED))


def _content(read: _Reader, default: ContentPolicy) -> ContentPolicy:
    if read.text(CAPTURE_CONTENT):
        return cast(ContentPolicy, read.choice(CAPTURE_CONTENT, get_args(ContentPolicy), default))
    value = read.text(OTEL_CAPTURE_CONTENT).lower()
    if value in _OTEL_CONTENT:
        return _OTEL_CONTENT[value]
    return "full" if read.flag(OTEL_CAPTURE_CONTENT) else default


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads variables as values of a kind, and logs those that are not allowed."""

    source: Mapping[str, str]
    logger: logging.Logger

    def text(self, name: str) -> str:
        return self.source.get(name, "").strip()

    def flag(self, name: str) -> bool:
        value = self.text(name).lower()
        if value in _TRUE:
            return True
        if value not in _FALSE:
            self._warn(name, self.source[name], "true or false", "false")
        return False

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(name).lower()
        if not value:
            return default
        if value not in allowed:
            self._warn(name, self.source[name], ", ".join(allowed), default)
            return default
        return value

    def number(self, name: str, default: _Number, low: _Number, high: _Number) -> _Number:
        text = self.text(name)
        if not text:
            return default
        try:
            value = type(default)(text)
        except ValueError:
            value = None
        # NaN fails the comparison too.
        if value is None or not low <= value <= high:
            self._warn(name, text, f"a number from {low} to {high}", str(default))
            return default
        return value

    def _warn(self, name: str, value: str, allowed: str, default: str) -> None:
        self.logger.warning(
            "Sidelight: %s=%.40r is not allowed; using %s. Set it to %s.",
            name, value, default, allowed,
        )  # fmt: skip
