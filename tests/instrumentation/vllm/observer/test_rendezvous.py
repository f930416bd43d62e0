"""Which processes meet at one place, and what remains of it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from multiprocessing import SimpleQueue
from pathlib import Path

import pytest

from sidelight.instrumentation.vllm.observer import rendezvous
from sidelight.instrumentation.vllm.observer.rendezvous import DIRECTORY_VARIABLE, MeetingPlace
from sidelight.instrumentation.vllm.observer.service import remove_place
from support.observer_writer import put_place
from support.paths import ROOT

ANNOUNCE = (
    "import os; from sidelight.instrumentation.vllm.observer import rendezvous; "
    f"rendezvous.announce(); print(os.environ['{DIRECTORY_VARIABLE}'])"
)
METHODS = ["spawn", pytest.param("fork", marks=pytest.mark.alone)]


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> str:
    """The place of this process, which has loaded the plugin."""
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")
    monkeypatch.setattr(rendezvous, "_chosen_by", None)
    rendezvous.announce()
    return os.environ[DIRECTORY_VARIABLE]


def in_child(method: str, name: str) -> str:
    """The place of a child process of this name."""
    context = multiprocessing.get_context(method)
    results: SimpleQueue[str] = context.SimpleQueue()
    process = context.Process(target=put_place, args=(results,), name=name)  # type: ignore[attr-defined]
    process.start()
    process.join()
    assert process.exitcode == 0
    return results.get()


def test_the_name_cannot_be_guessed(chosen: str) -> None:
    """128 bits are random, and the process keeps its choice."""
    rendezvous.announce()
    assert os.environ[DIRECTORY_VARIABLE] == chosen
    rendezvous.choose()
    assert os.environ[DIRECTORY_VARIABLE] != chosen
    assert len(Path(chosen).name) > 32


@pytest.mark.parametrize("method", METHODS)
def test_api_servers_of_one_vllm_share_it(chosen: str, method: str) -> None:
    """vLLM starts them with multiprocessing, under a name of its own."""
    names = ("ApiServer_0", "ApiServer_1", "APIServer_DPRank_1")
    assert {in_child(method, name) for name in names} == {chosen}


@pytest.mark.parametrize("method", METHODS)
def test_each_vllm_below_one_python_has_its_own(chosen: str, method: str) -> None:
    """They differ in settings, and each has an engine 0."""
    assert len({chosen, in_child(method, "Process-1"), in_child(method, "Process-2")}) == 3


def test_each_vllm_that_is_a_program_has_its_own(chosen: str) -> None:
    """As a launcher or a notebook starts them, which hands its environment on."""
    places = {
        subprocess.run(
            [sys.executable, "-c", ANNOUNCE],
            env={**os.environ, "PYTHONPATH": str(ROOT / "instrumentation")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    }
    assert len(places | {chosen}) == 3


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """A directory with other files keeps them; one without is gone."""
    for files in ((), ("data", "models")):
        place = MeetingPlace(tmp_path / "place")
        place.directory.mkdir(mode=0o700)
        for file in files:
            (place.directory / file).mkdir()
        place.listen().close()
        remove_place(place, place.socket.stat().st_ino)
        assert place.directory.exists() == bool(files)
    assert sorted(path.name for path in place.directory.iterdir()) == ["data", "models"]
