"""What is said about tokens at the start: faults, and ports that everybody may send to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.collector import Collector, run_to_end, settings

PLAIN = "p" * 32


@pytest.mark.parametrize(
    ("tokens", "env", "words"),
    [
        ([{"env": "NOT_SET"}], {}, "auth.tokens.0 ($NOT_SET): empty; set the variable"),
        ([{"file": "nowhere"}], {}, "secret file nowhere: No such file"),
        ([{"env": "T"}], {"T": "short"}, "line 1: the token has fewer than 16 characters"),
        ([{"env": "T"}], {"T": f"{PLAIN}\na b"}, "auth.tokens.0 ($T): line 2: must be a token"),
        (
            [{"env": "T", "tenant": "a"}, {"env": "U", "tenant": "b"}],
            {"T": PLAIN, "U": PLAIN},
            "belongs to two tenants",
        ),
    ],
)
def test_faults_at_the_start(
    tmp_path: Path, tokens: list[Any], env: dict[str, str], words: str
) -> None:
    """Exit code 2, and a line that says where and what to do without showing a token."""
    config = settings(tmp_path, auth={"tokens": tokens})
    code, messages = run_to_end(config, tmp_path, env=env)
    assert code == 2
    assert any(words in each for each in messages)
    assert not any(PLAIN in each for each in messages)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [([], "accepts data from every sender"), ([{"env": "T"}], "without TLS")],
)
def test_open_doors_are_warned_of(tmp_path: Path, tokens: list[Any], words: str) -> None:
    """Beyond loopback: one line for each receiver without tokens, or with tokens in the clear."""
    wide = {"host": "0.0.0.0", "port": 0}
    receivers = {"otlp_http": wide, "otlp_grpc": wide}
    auth = {"tokens": tokens}
    with Collector(
        settings(tmp_path, receivers=receivers, auth=auth), tmp_path, env={"T": PLAIN}
    ) as collector:
        lines = [each for each in collector.messages if words in each]
        assert [each.split()[0] for each in lines] == ["receivers.otlp_http", "receivers.otlp_grpc"]
        assert all("set receivers." in each or "set auth.tokens" in each for each in lines)


def test_loopback_needs_no_word(tmp_path: Path) -> None:
    """The default is not complained of."""
    with Collector(settings(tmp_path), tmp_path) as collector:
        assert not any("listens on" in each for each in collector.messages)
