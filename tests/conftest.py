"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.guarded_phoenix import GuardedPhoenix, running_guarded_phoenix
from support.shared_vllm import SharedVllm, running_shared_vllm

pytest_plugins = ["support.suite.plugin"]


@pytest.fixture(scope="session")
def guarded_phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedPhoenix]:
    """A real Phoenix that wants an API key, started once for all tests."""
    with running_guarded_phoenix(tmp_path_factory.mktemp("phoenix")) as phoenix:
        yield phoenix


@pytest.fixture(scope="session")
def shared_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedVllm]:
    """A real vLLM with Sidelight in it, started once for all tests.

    The last test of `test_real_vllm_process.py` ends it, and has the mark that puts it behind the
    others.
    """
    with running_shared_vllm(tmp_path_factory.mktemp("vllm")) as vllm:
        yield vllm
