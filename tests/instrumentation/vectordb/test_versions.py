"""Client versions but the newest: the oldest that are supported, and newer ones yet to come."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from pymilvus import MilvusClient
from pymilvus.client.grpc_handler import GrpcHandler

from sidelight.instrumentation.vectordb.milvus import description
from sidelight.instrumentation.vectordb.milvus import iterators as milvus_iterators
from support.environments import VECTORDB_REQUIREMENTS
from support.paths import ROOT
from support.vectordb import client_messages, servers
from support.vectordb.milvus_lite import Observe, vector
from support.vectordb.record import differences
from support.vectordb.servers import Serving, run_workload


@pytest.mark.real("otel-1.27")
@pytest.mark.parametrize("mode", ["qdrant", "qdrant-async"])
def test_the_oldest_opentelemetry_has_all_spans_and_metrics(mode: str, tmp_path: Path) -> None:
    """Its measurements take no context and its histograms no bounds: then they go without."""
    pins = (VECTORDB_REQUIREMENTS / "otel-1.27.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        (bound,) = requirement.specifier
        version = re.search(rf"^{requirement.name}==(\S+)$", pins, re.MULTILINE)
        # The encoder of OTLP is for vLLM.
        assert requirement.name.endswith("proto-common") or (
            version is not None and Version(version[1]) == Version(bound.version)
        )

    with servers.nowhere(tmp_path) as server:
        outcome = run_workload(mode, server, environment="otel-1.27")

    assert differences(outcome, "qdrant") == []


@pytest.mark.real("milvus-2.5", "qdrant-1.13", "chroma-1.0")
@pytest.mark.parametrize(
    ("environment", "mode", "serving"),
    [
        ("milvus-2.5", "milvus", servers.milvus_lite_file),
        ("qdrant-1.13", "qdrant", servers.nowhere),
        ("qdrant-1.13", "qdrant-async", servers.nowhere),
        ("chroma-1.0", "chroma-embedded", servers.nowhere),
    ],
)
def test_the_oldest_clients_are_observed_like_the_newest(
    environment: str, mode: str, serving: Serving, tmp_path: Path
) -> None:
    """The whole workload, but for what an old client does not have."""
    with serving(tmp_path) as server:
        outcome = run_workload(mode, server, environment=environment)

    assert differences(outcome, mode.partition("-")[0]) == []
    assert len(outcome.called) >= 20


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our own warnings."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sidelight") and record.levelno >= logging.WARNING
    ]


def test_what_a_newer_client_moved_is_named_in_one_line(
    lite: MilvusClient,
    observe: Observe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Methods, modules and classes that are gone: one warning, and the rest is observed."""
    search = GrpcHandler.search
    monkeypatch.delattr(GrpcHandler, "search")
    monkeypatch.setattr(GrpcHandler, "search_2", search, raising=False)
    monkeypatch.delattr(GrpcHandler, "flush")
    monkeypatch.setitem(sys.modules, "pymilvus.client.async_grpc_handler", None)
    moved = replace(description.QUERY_ITERATORS, classes=(("pymilvus:Gone",),))
    monkeypatch.setattr(milvus_iterators, "QUERY_ITERATORS", moved)

    recording = observe()
    lite.query("docs", filter="id < 3")

    (line,) = warnings(caplog)
    assert "GrpcHandler.search" in line
    assert "pymilvus.client.async_grpc_handler:AsyncGrpcHandler" in line
    assert "pymilvus:Gone" in line
    assert "flush" not in line
    assert [span.name for span in recording.spans()] == ["query docs"]


def test_a_client_that_cannot_be_observed_at_all_is_left_alone(
    lite: MilvusClient,
    observe: Observe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If anything fails while methods are replaced, every one is put back, with one warning."""
    before = dict(vars(GrpcHandler))

    def broken(*_: Any) -> None:
        raise TypeError("no signature")

    monkeypatch.setattr(milvus_iterators, "observe_iterators", broken)

    recording = observe()
    lite.search("docs", data=[vector(1)])

    assert len(warnings(caplog)) == 1
    assert dict(vars(GrpcHandler)) == before
    assert recording.spans() == []


@pytest.mark.parametrize("database", ["milvus", "qdrant"])
def test_the_messages_of_the_newest_client_are_listed(database: str) -> None:
    """A message that is not in `messages.txt` is not captured; `client_messages` prints it."""
    assert client_messages.unlisted(database) == []


@pytest.mark.real("chroma", "chroma-1.0", "milvus-2.5", "qdrant-1.13")
@pytest.mark.parametrize("environment", ["chroma", "chroma-1.0", "milvus-2.5", "qdrant-1.13"])
def test_the_messages_of_other_clients_are_listed(environment: str) -> None:
    """The same for the oldest supported clients, and for Chroma's."""
    done = subprocess.run(
        [
            servers.python_of(environment),
            "-m",
            "support.vectordb.client_messages",
            environment.partition("-")[0],
        ],
        capture_output=True,
        text=True,
        env=servers.environment_for_clients(),
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
