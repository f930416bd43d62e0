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
