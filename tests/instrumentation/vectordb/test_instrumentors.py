"""How the observers are found and switched on."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
from pymilvus import MilvusClient
from pymilvus.client.grpc_handler import GrpcHandler

import sidelight.instrumentation
from sidelight.instrumentation.settings import Settings
from support.recording import Recording

from .conftest import vector


@pytest.mark.parametrize("name", ["milvus"])
def test_opentelemetry_finds_an_instrumentor_for_each_client(name: str, lite: MilvusClient) -> None:
    """`opentelemetry-instrument` loads these entry points, switches them on and off again."""
    (entry,) = entry_points(group="opentelemetry_instrumentor", name=f"sidelight-{name}")
    instrumentor: Any = entry.load()()
    recording = Recording()
    before = GrpcHandler.search

    instrumentor.instrument(
        tracer_provider=recording.tracer_provider,
        meter_provider=recording.meter_provider,
        settings=Settings(),
    )
    lite.search("docs", data=[vector(1)])
    instrumentor.uninstrument()

    assert [span.name for span in recording.spans()] == ["search docs"]
    assert GrpcHandler.search is before


def test_one_call_observes_every_installed_client(lite: MilvusClient) -> None:
    """`sidelight.instrumentation.instrument` names what it observes; its twin undoes it all."""
    recording = Recording()

    observed = sidelight.instrumentation.instrument(
        recording.tracer_provider, recording.meter_provider, Settings()
    )
    lite.search("docs", data=[vector(1)])
    sidelight.instrumentation.uninstrument()
    lite.search("docs", data=[vector(1)])

    assert "pymilvus" in observed
    assert [span.name for span in recording.spans()] == ["search docs"]


def test_bare_sidelight_is_enough() -> None:
    """Without the collector's packages, instrumentors or clients, every module still loads."""
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        refused = ("pymilvus", "grpc", "numpy", "pydantic", "opentelemetry.instrumentation")
        if name.startswith(refused):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
import sidelight.instrumentation
from sidelight.instrumentation.vectordb import milvus, query_text
with query_text("hello"):
    pass
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
