"""What a reload finds of the destinations that are there without asking."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.run import reread
from sidelight.collector.destinations.phoenix.config import PhoenixDestination

_PHOENIX = PhoenixDestination(type="phoenix")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing that this machine has set for Sidelight or Langfuse counts."""
    for variable in list(os.environ):
        if variable.startswith(("SIDELIGHT_", "LANGFUSE_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("SIDELIGHT_LOG__DIRECTORY", str(tmp_path))


def test_one_that_was_found_stays() -> None:
    """It may just be down, and what comes meanwhile is to be kept for it."""
    _, found = reread(None, Config(), (_PHOENIX,))
    assert [each.name for each in found] == ["phoenix"]


def test_new_ones_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside those that were there before."""
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
    _, found = reread(None, Config(), (_PHOENIX,))
    assert {each.name for each in found} == {"phoenix", "langfuse"}


def test_a_list_in_the_file_is_all_there_is(tmp_path: Path) -> None:
    """Whatever had been found before."""
    file = tmp_path / "sidelight.yaml"
    file.write_text("destinations: []")
    assert reread(file, Config(), (_PHOENIX,))[1] == ()


def test_what_the_file_named_before_does_not_stay() -> None:
    """Only what was there without asking does."""
    running = Config.model_validate({"destinations": [{"type": "phoenix"}]})
    _, found = reread(None, running, (PhoenixDestination(type="phoenix", name="other"),))
    assert "other" not in {each.name for each in found}


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """Whoever writes it may have emptied it first; its defaults have no destinations."""
    file = tmp_path / "sidelight.yaml"
    for text in ("", " \n"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r": empty; write \{\} for the defaults"):
            reread(file, Config(), (_PHOENIX,))
    file.write_text("{}")
    assert reread(file, Config(), (_PHOENIX,))[1] == (_PHOENIX,)


def test_a_file_that_is_being_written_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that is half-way is not read."""
    file = tmp_path / "sidelight.yaml"
    rest = ["  - type: phoenix\n", "    name: second\n"]
    file.write_text("destinations:\n  - type: phoenix\n    name: first\n")

    def write_more(_: float) -> None:
        if rest:
            with file.open("a") as writer:
                writer.write(rest.pop(0))

    monkeypatch.setattr(time, "sleep", write_more)
    assert [known.name for known in reread(file, Config(), ())[1]] == ["first", "second"]


def test_a_list_that_becomes_empty_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As at a start: what arrives from now on waits in the log."""
    file = tmp_path / "sidelight.yaml"
    file.write_text("destinations: []")
    reread(file, Config.model_validate({"destinations": [{"type": "phoenix"}]}), (_PHOENIX,))
    assert "no destination (the list of destinations is empty)" in caplog.text
