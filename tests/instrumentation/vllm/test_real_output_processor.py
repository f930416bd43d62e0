"""The hooks on vLLM's real `OutputProcessor`, against its own statistics, without an engine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sidelight.instrumentation.vllm.sequences import FinishedSequence, read_sequence
from support.environments import python_of
from support.paths import ROOT
from support.vllm_server import older_vllm

pytestmark = [pytest.mark.real("vllm", "vllm-0.31"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=["0.32", "0.31"])
def laid_over(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """What lies over the newest vLLM's environment: nothing, or an older vLLM."""
    if request.param == "0.32":
        return []
    return [older_vllm(request.param, tmp_path_factory.mktemp("older") / "vllm")]


def run(
    laid_over: list[Path], statistics: str
) -> tuple[dict[str, Any], dict[str, list[FinishedSequence]]]:
    """What the script says, and the sequences by the ids of their requests."""
    folders = (*laid_over, ROOT / "instrumentation", ROOT / "tests")
    done = subprocess.run(
        [
            python_of("vllm"),
            ROOT / "tests" / "support" / "vllm_output_processor.py",
            statistics,
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (result["missing"], result["faults"], result["left"]) == ([], 0, 0)
    assert result["sequences"] == 6
    sequences: dict[str, list[FinishedSequence]] = {}
    for fields in result["handed_over"]:
        sequence = read_sequence(fields)
        sequences.setdefault(sequence.request_id, []).append(sequence)
    assert {name: len(same) for name, same in sequences.items()} == {
        "finished": 1, "preempted": 1, "aborted": 1, "early": 1, "two": 2,
    }  # fmt: skip
    return result, sequences


def test_with_statistics(laid_over: list[Path]) -> None:
    """Times, tokens and preemptions are vLLM's own; aborted sequences have theirs as well."""
    result, sequences = run(laid_over, "on")
    assert {stats["request_id"] for stats in result["reported"]} == {"finished", "preempted"}
    for stats in result["reported"]:
        (sequence,) = sequences[stats["request_id"]]
        assert sequence.queue_seconds == pytest.approx(stats["queue"])
        assert sequence.prefill_seconds == pytest.approx(stats["prefill"])
        assert sequence.decode_seconds == pytest.approx(stats["decode"])
        assert sequence.generated_tokens == stats["tokens"]
        assert sequence.cached_tokens == stats["cached"]
        assert sequence.preemptions == stats["preemptions"] == len(sequence.preempted)
    (aborted,), (early,) = sequences["aborted"], sequences["early"]
    assert (aborted.finish_reason, aborted.generated_tokens, aborted.cached_tokens) == (
        "abort", 1, 3,
    )  # fmt: skip
    assert aborted.is_timed
    assert (early.finish_reason, early.generated_tokens, early.first_token) == ("abort", 0, None)
    assert [child.aborted for child in sequences["two"]] == [True, True]
    assert sorted(child.index for child in sequences["two"]) == [4, 5]


def test_without_statistics(laid_over: list[Path]) -> None:
    """Under `--disable-log-stats` tokens, cached tokens and the first token are known."""
    result, sequences = run(laid_over, "off")
    assert result["reported"] == []
    (finished,), (aborted,), (early,) = (
        sequences[name] for name in ("finished", "aborted", "early")
    )
    assert (finished.finish_reason, finished.generated_tokens) == ("stop", 3)
    assert (finished.cached_tokens, finished.queued, finished.scheduled) == (3, None, None)
    assert finished.first_token is not None
    assert finished.decode_seconds is not None
    assert (aborted.generated_tokens, aborted.cached_tokens) == (1, 3)
    assert early.first_token is None
