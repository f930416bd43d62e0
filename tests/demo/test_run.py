"""How the demo begins where it cannot run, and what its screen says without a terminal."""

from __future__ import annotations

import fcntl
import importlib.util
import io
from pathlib import Path

import pytest
from rich.console import Console

from sidelight.demo.run import EXIT_CANNOT_RUN, DemoOptions, run
from sidelight.demo.screen import Screen


def console() -> tuple[Console, io.StringIO]:
    """A console that is no terminal, and what is printed on it."""
    printed = io.StringIO()
    return Console(file=printed, width=200), printed


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the packages of [demo] it says which are missing and how to get them."""
    really = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("pymilvus", "httpx") else really(name, *rest),
    )
    screen, printed = console()

    assert run(DemoOptions(directory=tmp_path), screen) == EXIT_CANNOT_RUN
    assert printed.getvalue() == (
        "The demo needs httpx, pymilvus: run pip install 'sidelight[demo]'\n"
    )


def test_two_demos_do_not_share_a_directory(tmp_path: Path) -> None:
    """While a demo runs in a directory a second one leaves it alone and says so."""
    kept = tmp_path / "milvus.db"
    kept.write_text("in use")
    with (tmp_path / ".sidelight-demo").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        screen, printed = console()

        assert run(DemoOptions(directory=tmp_path), screen) == EXIT_CANNOT_RUN

    assert f"another demo is running in {tmp_path}" in printed.getvalue()
    assert kept.read_text() == "in use"


def test_without_a_terminal_each_step_is_a_line() -> None:
    """A step is printed once it has ended, with what came of it; a failed one with a cross."""
    printing, printed = console()
    screen = Screen(printing)
    with screen.running():
        with screen.step("Phoenix") as step:
            step.say("starting")
            step.conclude("[bold]ready[/]")
        with pytest.raises(OSError, match="gone"):
            fail(screen)

    first, second = printed.getvalue().splitlines()
    assert first.startswith("✓ Phoenix  [bold]ready[/]  (")
    assert second.startswith("✗ vLLM  starting  (")


def fail(screen: Screen) -> None:
    """A step that begins and fails."""
    with screen.step("vLLM") as step:
        step.say("starting")
        raise OSError("gone")


def test_what_the_demo_did_not_write_is_left_alone(tmp_path: Path) -> None:
    """Something of the user's in the demo's own directory stops it, and nothing is deleted."""
    (tmp_path / ".sidelight-demo").touch()
    (tmp_path / "milvus.db").write_text("of an earlier demo")
    (tmp_path / "my-notes.txt").write_text("mine")
    screen, printed = console()

    assert run(DemoOptions(directory=tmp_path), screen) == EXIT_CANNOT_RUN
    said = " ".join(printed.getvalue().split())
    assert "has files that are not the demo's (my-notes.txt): move them" in said
    assert (tmp_path / "my-notes.txt").read_text() == "mine"
    assert (tmp_path / "milvus.db").exists()
