"""The hooks on the real objects of each version of vLLM, without an engine.

Sequences are compared with vLLM's own statistics.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from sidelight.instrumentation.vllm.records import ENGINE, STEP
from sidelight.instrumentation.vllm.sequences import FinishedSequence, read_sequence
from support.environments import python_of
from support.paths import ROOT
from support.vllm_server import NOTHING_COMPILED, QUICK_START, older_vllm

VERSIONS = ("0.32", "0.31", "0.20", "0.13")
pytestmark = [
    pytest.mark.real("vllm", *(f"vllm-{version}" for version in VERSIONS[1:])),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module", params=VERSIONS)
def said(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What the script says: with statistics on and off.

    Versions but the newest lie over its environment.
    """
    folders = [ROOT / "instrumentation", ROOT / "tests", QUICK_START]
    if request.param != VERSIONS[0]:
        folders.insert(0, older_vllm(request.param, tmp_path_factory.mktemp("older") / "vllm"))
    done = subprocess.run(
        [python_of("vllm"), ROOT / "tests" / "support" / "vllm_output_processor.py"],
        env={
            **os.environ,
            **NOTHING_COMPILED,
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    results: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return results


def sequences_of(result: dict[str, Any]) -> dict[str, list[FinishedSequence]]:
    """The sequences by the names of their requests."""
    assert (result["missing"], result["faults"], result["left"]) == ([], 0, 0)
    assert result["sequences"] == 6
    sequences: dict[str, list[FinishedSequence]] = {}
    for fields in result["handed_over"]:
        sequence = read_sequence(fields)
        # 0.13 hands over the id of the child.
        name = (sequence.request_id or "").rpartition("_")[2]
        sequences.setdefault(name, []).append(sequence)
    assert {name: len(same) for name, same in sequences.items()} == {
        "finished": 1, "preempted": 1, "aborted": 1, "early": 1, "two": 2,
    }  # fmt: skip
    return sequences


def test_with_statistics(said: dict[str, dict[str, Any]]) -> None:
    """Times, tokens and preemptions are vLLM's own; aborted sequences have theirs as well."""
    sequences = sequences_of(said["on"])
    for stats, name in zip(said["on"]["reported"], ("finished", "preempted"), strict=True):
        # The oldest do not say whose they are, nor how often it was preempted.
        assert stats["request_id"] in (None, name)
        (sequence,) = sequences[name]
        assert sequence.queue_seconds == pytest.approx(stats["queue"])
        assert sequence.prefill_seconds == pytest.approx(stats["prefill"])
        assert sequence.decode_seconds == pytest.approx(stats["decode"])
        assert sequence.generated_tokens == stats["tokens"]
        assert sequence.cached_tokens == stats["cached"]
        assert stats["preemptions"] in (None, sequence.preemptions)
        assert sequence.preemptions == len(sequence.preempted) == (name == "preempted")
    (aborted,), (early,) = sequences["aborted"], sequences["early"]
    assert (aborted.finish_reason, aborted.generated_tokens, aborted.cached_tokens) == (
        "abort", 1, 3,
    )  # fmt: skip
    assert aborted.is_timed
    assert (early.finish_reason, early.generated_tokens, early.first_token) == ("abort", 0, None)
    assert [child.aborted for child in sequences["two"]] == [True, True]
    assert sorted(child.index for child in sequences["two"]) == [4, 5]


def test_without_statistics(said: dict[str, dict[str, Any]]) -> None:
    """Under `--disable-log-stats` tokens, cached tokens and the first token are known."""
    sequences = sequences_of(said["off"])
    assert said["off"]["reported"] == []
    (finished,), (aborted,), (early,) = (
        sequences[name] for name in ("finished", "aborted", "early")
    )
    assert (finished.finish_reason, finished.generated_tokens) == ("stop", 3)
    assert (finished.cached_tokens, finished.queued, finished.scheduled) == (3, None, None)
    assert finished.first_token is not None
    assert finished.decode_seconds is not None
    assert (aborted.generated_tokens, aborted.cached_tokens) == (1, 3)
    assert early.first_token is None


def test_steps(said: dict[str, dict[str, Any]]) -> None:
    """Each engine is announced, a step has the scheduler's figures, sleep and pause are noted."""
    steps = said["steps"]
    assert steps["faults"] == 0
    *engines, (kind, engine, step, ended) = steps["records"]
    assert [record[:2] for record in engines] == [[ENGINE, 0], [ENGINE, 1]]
    assert (kind, engine, ended) == (STEP, 1, [])
    assert step[1:4] == [3, 2, 0.5]
    assert steps["wrapped"] == ["sleep", "wake_up", "pause_generation", "resume_generation"]
