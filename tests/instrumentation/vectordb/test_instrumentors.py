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
from support.vectordb import servers
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


LIST_MODULES = "import sys; print(*sorted(sys.modules), sep='\\n')"


def _modules_of(command: list[Any], environment: dict[str, str] | None = None) -> set[str]:
    """The modules of a process that prints them."""
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def _foreign(modules: set[str]) -> set[str]:
    """Those that are neither Python's nor ours."""
    return {
        name
        for name in (module.partition(".")[0] for module in modules)
        if name not in sys.stdlib_module_names and name not in ("sidelight", "__main__")
    }


def test_no_library_is_imported_that_the_app_does_not_import() -> None:
    """Neither a client nor OpenTelemetry: switching on takes Sidelight and Python alone."""
    program = "import sidelight.instrumentation; sidelight.instrumentation.instrument()\n"
    alone = _modules_of([sys.executable, "-c", LIST_MODULES])
    observed = _modules_of([sys.executable, "-c", program + LIST_MODULES])

    assert _foreign(observed - alone) == set()


def test_opentelemetry_instrument_imports_no_client() -> None:
    """Beside what the command imports without us, which depends on what else is installed."""
    command = [
        Path(sys.executable).with_name("opentelemetry-instrument"),
        sys.executable,
        "-c",
        LIST_MODULES,
    ]
    names = ",".join(f"sidelight-{name}" for name in ("chroma", "milvus", "qdrant"))
    without = _modules_of(command, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": names})
    observed = _modules_of(command)

    assert _foreign(observed) == _foreign(without)


OLD_SQLITE = """
import sqlite3, sys
import sidelight.instrumentation
from sidelight.instrumentation.settings import Settings
from support.recording import Recording
recording = Recording()
sidelight.instrumentation.instrument(recording.tracer_provider, None, Settings())
version = sqlite3.sqlite_version_info
sqlite3.sqlite_version_info = (3, 31, 0)
try:
    import chromadb
except RuntimeError as error:
    print("refused")
sqlite3.sqlite_version_info = version
import chromadb
docs = chromadb.EphemeralClient().create_collection("docs")
docs.add(ids=["1"], embeddings=[[1.0, 0.0]])
print(*(span.name for span in recording.spans()), sep=";")
"""


@pytest.mark.real("chroma", "chroma-1.0")
@pytest.mark.parametrize("environment", ["chroma", "chroma-1.0"])
def test_a_client_that_cannot_be_imported_yet_is_observed_when_it_can(environment: str) -> None:
    """Chroma refuses an old sqlite3 until the app has put another one in its place."""
    done = subprocess.run(
        [servers.python_of(environment), "-c", OLD_SQLITE],
        capture_output=True,
        text=True,
        env=servers.environment_for_clients(),
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["refused", "create_collection docs;add docs"]


@pytest.mark.real("chroma")
@pytest.mark.parametrize(
    ("client", "environment"),
    [("pymilvus", "tests"), ("qdrant_client", "tests"), ("chromadb", "chroma")],
)
def test_a_client_brings_no_more_libraries_when_it_is_observed(
    client: str, environment: str
) -> None:
    """Beside our own dependencies: neither another client nor an exporter, numpy or httpx."""
    program = "import sidelight.instrumentation; sidelight.instrumentation.instrument()\n"
    python = servers.python_of(environment)
    environ = servers.environment_for_clients()
    alone = _modules_of([python, "-c", f"import {client}\n{LIST_MODULES}"], environ)
    observed = _modules_of([python, "-c", f"{program}import {client}\n{LIST_MODULES}"], environ)

    assert _foreign(observed) - _foreign(alone) <= {"opentelemetry", "wrapt"}
    assert not {name for name in observed - alone if name.startswith("opentelemetry.exporter")}
