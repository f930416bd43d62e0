"""Settings of the instrumentation: read once, wrong values cost one warning and nothing else."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.instrumentation import settings as names
from sidelight.instrumentation.content import clip
from sidelight.instrumentation.settings import ContentPolicy, Settings
from support.logged import messages_of


def test_nothing_is_captured_by_default() -> None:
    """Without any variable no content and no id leaves the process."""
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert (settings.capture_content, settings.captures_ids, settings.captures_text) == (
        "off", False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "ids", "text"),
    [("off", False, False), ("ids", True, False), ("truncated", True, True), ("FULL", True, True)],
)
def test_policies(policy: str, ids: bool, text: bool) -> None:
    """Each policy allows what the one before it allows, in any case of letters."""
    settings = Settings.from_environment({names.CAPTURE_CONTENT: policy})
    assert (settings.captures_ids, settings.captures_text) == (ids, text)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({names.OTEL_CAPTURE_CONTENT: "true"}, "full"),
        ({names.OTEL_CAPTURE_CONTENT: "SPAN_ONLY"}, "full"),
        ({names.OTEL_CAPTURE_CONTENT: "EVENT_ONLY"}, "off"),
        ({names.OTEL_CAPTURE_CONTENT: "false"}, "off"),
        ({names.OTEL_CAPTURE_CONTENT: "true", names.CAPTURE_CONTENT: "ids"}, "ids"),
        ({names.OTEL_CAPTURE_CONTENT: "true", names.CAPTURE_CONTENT: "off"}, "off"),
        # A typo in Sidelight's variable must not fall through to more than it asked for.
        ({names.OTEL_CAPTURE_CONTENT: "true", names.CAPTURE_CONTENT: "of"}, "off"),
    ],
)
def test_opentelemetrys_variable(environ: dict[str, str], expected: str) -> None:
    """OpenTelemetry's variable counts unless Sidelight's own says otherwise."""
    assert Settings.from_environment(environ).capture_content == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.CAPTURE_CONTENT, "everything"),
        (names.MAX_CHARACTERS, "-1"),
        (names.MAX_BYTES, "lots"),
        (names.MAX_DOCUMENTS, "1e3"),
        (names.VLLM_STATS_WAIT, "nan"),
        (names.VLLM_SPAN_KIND, "agent"),
        (names.DISABLED, "perhaps"),
    ],
)
def test_wrong_value(name: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """A value that is not allowed leaves the default and warns once, naming the variable."""
    with caplog.at_level(logging.WARNING):
        assert Settings.from_environment({name: value}) == Settings()
    (line,) = messages_of(caplog, "sidelight")
    assert name in line
    assert value in line


def test_disabled_by_either_variable() -> None:
    """Sidelight's switch and OpenTelemetry's both turn the instrumentation off."""
    assert Settings.from_environment({names.DISABLED: "1"}).disabled
    assert Settings.from_environment({names.OTEL_DISABLED: "true"}).disabled


@given(st.dictionaries(st.sampled_from(sorted(names.__dict__)), st.text()))
def test_never_raises(values: dict[str, str]) -> None:
    """Whatever the environment holds, settings come back."""
    variables = {str(getattr(names, key)): value for key, value in values.items()}
    assert isinstance(Settings.from_environment(variables), Settings)


@given(st.text(), st.integers(0, 40), st.integers(0, 40))
def test_clip(text: str, characters: int, size: int) -> None:
    """Clipped text is a prefix within both caps, and a cut is reported exactly when made."""
    settings = Settings(capture_content="truncated", max_characters=characters, max_bytes=size)
    kept, cut = clip(text, settings)
    assert text.startswith(kept)
    assert len(kept) <= characters
    assert len(kept.encode("utf-8", "surrogatepass")) <= size
    assert cut == (kept != text)


def test_no_text_without_permission() -> None:
    """Under `off` and `ids` no text passes, however short."""
    policies: tuple[ContentPolicy, ...] = ("off", "ids")
    for policy in policies:
        assert clip("secret", Settings(capture_content=policy)) == ("", True)
