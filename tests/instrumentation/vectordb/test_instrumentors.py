"""How the observers are found and switched on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient
from pymilvus.client.grpc_handler import GrpcHandler
from qdrant_client import QdrantClient, models

import sidelight.instrumentation
from sidelight.instrumentation.settings import Settings
from support.recording import Recording
from support.vectordb.milvus_lite import vector


def _milvus_search(lite: MilvusClient) -> None:
    lite.search("docs", data=[vector(1)])


def _qdrant_search(_lite: MilvusClient) -> None:
    client = QdrantClient(":memory:")
    client._client.create_collection(
        "docs", models.VectorParams(size=2, distance=models.Distance.DOT)
    )
    client.query_points("docs", query=[1.0, 0.0])


@pytest.mark.parametrize(
    ("name", "owner", "method", "search", "span"),
    [
        ("milvus", GrpcHandler, "search", _milvus_search, "search docs"),
        ("qdrant", QdrantClient, "query_points", _qdrant_search, "query_points docs"),
    ],
)
def test_opentelemetry_finds_an_instrumentor_for_each_client(
    lite: MilvusClient,
    name: str,
    owner: Any,
    method: str,
    search: Callable[[MilvusClient], None],
    span: str,
) -> None:
    """`opentelemetry-instrument` loads these entry points, switches them on and off again."""
    (entry,) = entry_points(group="opentelemetry_instrumentor", name=f"sidelight-{name}")
    instrumentor: Any = entry.load()()
    recording = Recording()
    before = vars(owner)[method]

    instrumentor.instrument(
        tracer_provider=recording.tracer_provider,
        meter_provider=recording.meter_provider,
        settings=Settings(),
    )
    search(lite)
    instrumentor.uninstrument()

    assert [found.name for found in recording.spans()] == [span]
    assert vars(owner)[method] is before


APP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from qdrant_client import QdrantClient, models
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
client = QdrantClient(":memory:")
client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
client.query_points("docs", query=[1.0, 0.0])
"""


def test_opentelemetry_instrument_observes_an_app_that_does_not_know_of_it(
    tmp_path: Path,
) -> None:
    """The command line is enough, also if the app sets its provider later than that."""
    app = tmp_path / "app.py"
    app.write_text(APP)
    command = Path(sys.executable).with_name("opentelemetry-instrument")

    done = subprocess.run([command, sys.executable, app], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert '"name": "query_points docs"' in done.stdout


def test_opentelemetry_can_leave_a_client_out(tmp_path: Path) -> None:
    """Each database has an entry point of its own, whose name switches it off."""
    app = tmp_path / "app.py"
    app.write_text(APP)
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    environment = {**os.environ, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sidelight-qdrant"}

    done = subprocess.run(
        [command, sys.executable, app], capture_output=True, text=True, env=environment
    )

    assert done.returncode == 0, done.stderr
    assert "query_points" not in done.stdout


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


def test_nothing_is_observed_where_it_is_switched_off() -> None:
    """What is returned is what is observed."""
    assert sidelight.instrumentation.instrument(settings=Settings(disabled=True)) == ()


def test_a_folder_that_is_called_like_a_client_does_no_harm(tmp_path: Path) -> None:
    """Apps have folders and copies of packages: neither way of switching on raises."""
    (tmp_path / "chromadb").mkdir()
    (tmp_path / "chromadb" / "__init__.py").touch()
    program = (
        "import sidelight.instrumentation\n"
        "print(sidelight.instrumentation.instrument())\n"
        "from sidelight.instrumentation.vectordb.chroma.instrumentor import ChromaInstrumentor\n"
        "ChromaInstrumentor()._instrument()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "('pymilvus', 'qdrant_client')\n"


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
