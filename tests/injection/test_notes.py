"""What the owner of an injected pod is told about vLLM's command."""

from __future__ import annotations

import pytest

from sidelight.injection.notes import notes

IMAGE = {"name": "vllm", "image": "vllm/vllm-openai:v0.33.0"}


@pytest.mark.parametrize(
    "words",
    [
        ["python3", "-I", "-m", "vllm.entrypoints.openai.api_server"],
        ["/usr/bin/python3.12", "-u", "-sE", "-m", "vllm.entrypoints.openai.api_server"],
        ["sh", "-c", "exec python3 -I -m vllm.entrypoints.openai.api_server"],
    ],
)
def test_an_isolated_python(words: list[str]) -> None:
    """Such a Python reads no PYTHONPATH, also where a shell starts it."""
    (note,) = notes({**IMAGE, "command": words}, {})
    assert "Python ignores PYTHONPATH" in note


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", "grep -E model /etc/models && exec vllm serve m"],
        ["python3", "-m", "vllm.entrypoints.openai.api_server", "-E", "x"],
    ],
)
def test_options_of_other_programs(words: list[str]) -> None:
    """The options of a shell's programs and of vLLM are not Python's."""
    assert notes({**IMAGE, "command": words}, {}) == []


@pytest.mark.parametrize(
    ("values", "is_told"),
    [(["a", "b"], True), (["sidelight", "b"], True), (["a", "b,sidelight"], False), (["a"], False)],
)
def test_plugins_that_are_set_twice(values: list[str], is_told: bool) -> None:
    """The container gets the last, which is not extended: vLLM would load no Sidelight."""
    env = [{"name": "VLLM_PLUGINS", "value": value} for value in values]
    found = notes({**IMAGE, "env": env}, {})
    assert [note for note in found if note.startswith("VLLM_PLUGINS is set twice")] == (
        found if is_told else []
    )
    assert bool(found) == is_told


@pytest.mark.parametrize(
    ("policy", "is_told"), [("Default", True), ("ClusterFirst", False), (None, False)]
)
def test_a_pod_that_finds_no_service(policy: str | None, is_told: bool) -> None:
    """Its DNS is the node's, which does not know the gateway's name."""
    found = notes(IMAGE, {"spec": {"dnsPolicy": policy}})
    assert bool(found) == is_told
    assert all("finds no Service by its name" in note for note in found)
