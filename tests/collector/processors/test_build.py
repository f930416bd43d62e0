"""From the configuration to the pipeline, and configurations that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidelight import conventions as c
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.processors.build import build
from support.processing import processed, processed_span, request, span, values

CARD = "4111 1111 1111 1111"


def config(text: str) -> Config:
    """The configuration of a YAML text."""
    return Config.model_validate(yaml.safe_load(text))


def kept(text: str, attributes: dict[str, Any], **where: str) -> dict[str, Any]:
    """Attributes of a span after a pipeline built from YAML."""
    return values(processed_span(build(config(text).processors), span(attributes), **where))


class TestConfiguration:
    def test_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a word in the configuration what senders chose to send is passed on."""
        monkeypatch.delenv("SIDELIGHT_CAPTURE_CONTENT", raising=False)
        _, done = processed(build(Config().processors), request([span({c.INPUT_VALUE: CARD})]))
        assert not done.changed

    def test_capture_content_of_the_collector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variable that senders know is the default here too; the configuration wins."""
        monkeypatch.setenv("SIDELIGHT_CAPTURE_CONTENT", "off")
        assert kept("processors: {}", {c.INPUT_VALUE: "x"}) == {}
        text = "processors: {content: {default: full}}"
        assert kept(text, {c.INPUT_VALUE: "x"}) == {c.INPUT_VALUE: "x"}
        monkeypatch.setenv("SIDELIGHT_CAPTURE_CONTENT", "everything")
        with pytest.raises(ConfigError, match=r"SIDELIGHT_CAPTURE_CONTENT \(is 'everything'\)"):
            build(Config().processors)

    def test_a_bare_off(self) -> None:
        """YAML reads a bare off as false; it is understood all the same."""
        text = "processors: {content: {default: off, services: {web: full, api: off}}}"
        assert kept(text, {c.INPUT_VALUE: "x"}) == {}
        assert kept(text, {c.INPUT_VALUE: "x"}, service="web") == {c.INPUT_VALUE: "x"}

    def test_redaction(self) -> None:
        """Rules can be chosen, and own patterns added."""
        text = """
            processors:
              redact:
                enabled: true
                rules: [email]
                patterns: [{name: order, pattern: 'ORD-\\d+'}]
        """
        found = kept(text, {"a": f"bob@example.org {CARD} ORD-77"})
        assert found == {"a": f"[email] {CARD} [order]"}

    def test_hash_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a key marks are the same after a restart, without one they are not."""
        monkeypatch.setenv("KEY", "k")
        text = "processors: {content: {default: hashed, hash_key: {env: KEY}}}"
        assert kept(text, {c.INPUT_VALUE: "x"}) == kept(text, {c.INPUT_VALUE: "x"})
        text = "processors: {content: {default: hashed}}"
        assert kept(text, {c.INPUT_VALUE: "x"}) != kept(text, {c.INPUT_VALUE: "x"})

    def test_extensions_and_prices(self, tmp_path: Path) -> None:
        """Extensions are named by text or mapping, prices by file."""
        prices = tmp_path / "prices.yaml"
        prices.write_text("prices: [{model: m, output_per_million: 1}]")
        text = f"""
            processors:
              prices: {prices}
              extensions:
                - support.own_extensions:shout
                - {{call: "support.own_extensions:drop_pings", scopes: [my.]}}
        """
        made = processed_span(
            build(config(text).processors),
            span({c.REQUEST_MODEL: "m", c.OUTPUT_TOKENS: 1_000_000}, name="ping"),
        )
        assert made.name == "PING"
        assert values(made)[c.USAGE_COST] == 1.0


BAD = {
    "{redact: {enabled: true, patterns: [{name: x, pattern: '('}]}}": (
        "processors.redact.patterns.0.pattern: not RE2 syntax: missing )"
    ),
    "{redact: {enabled: true, patterns: [{name: x, pattern: '(?<=a)b'}]}}": "not RE2 syntax",
    "{redact: {enabled: true, patterns: [{name: x, pattern: 'a*'}]}}": "matches an empty text",
    "{redact: {enabled: true, patterns: [{name: x, pattern: '(a)(b)'}]}}": "has 2 groups",
    "{redact: {enabled: true, patterns: [{name: card, pattern: 'a'}]}}": (
        "processors.redact.patterns.0.name (is 'card'): taken"
    ),
    "{redact: {enabled: true, patterns: [{name: x, pattern: 'ORD', mark: bob@example.org}]}}": (
        "the mark 'bob@example.org' of x would itself be redacted"
    ),
    "{content: {default: hashed, hash_key: {env: NO_SUCH_VARIABLE}}}": (
        "processors.content.hash_key: $NO_SUCH_VARIABLE is empty"
    ),
}


class TestBadConfiguration:
    @pytest.mark.parametrize(("text", "message"), BAD.items())
    def test_message(self, text: str, message: str) -> None:
        """What only shows when parts are built names its key as well."""
        with pytest.raises(ConfigError) as caught:
            build(config(f"processors: {text}").processors)
        assert message in str(caught.value)

    def test_unknown_keys_and_values(self, tmp_path: Path) -> None:
        """A wrong policy and an unknown rule name key, value and what is allowed."""
        path = tmp_path / "sidelight.yaml"
        path.write_text("processors:\n  content: {default: some}\n  redact: {rules: [mail]}\n")
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert "processors.content.default (is 'some')" in str(caught.value)
        assert "processors.redact.rules.0 (is 'mail')" in str(caught.value)
        assert "'phone'" in str(caught.value)


def test_re2_is_imported_only_when_it_is_used() -> None:
    """A collector without redaction and policies does not pay for the engine."""
    code = (
        "import sys; from sidelight.collector.app.configuration.config import Config;"
        "from sidelight.collector.processors.build import build; build(Config().processors);"
        "assert 're2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
