"""How the middleware comes to stand around vLLM's application, and around no other."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest

from sidelight.instrumentation.settings import DISABLED
from sidelight.instrumentation.vllm import plugin, runtime
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.observer import rendezvous, starter
from support.logged import records_of
from support.observed_vllm import Observed

SOURCE = """
class {name}:
    def __init__(self, routes):
        self.routes = routes
    def build_middleware_stack(self):
        return "stack"
"""


@pytest.fixture
def frameworks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observed: Observed
) -> Iterator[Path]:
    """Modules where Starlette and FastAPI keep their applications, to be imported."""
    for package, name in (("starlette", "Starlette"), ("fastapi", "FastAPI")):
        directory = tmp_path / package
        directory.mkdir()
        (directory / "__init__.py").touch()
        (directory / "applications.py").write_text(SOURCE.format(name=name))
    modules = [f"{p}{s}" for p in ("starlette", "fastapi") for s in ("", ".applications")]
    for name in modules:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(runtime, "_runtime", observed.runtime)
    monkeypatch.setattr(plugin, "_warned", False)
    yield tmp_path
    plugin._hooks.stop()
    for name in modules:
        sys.modules.pop(name, None)


def endpoint(module: str) -> FunctionType:
    def answer() -> None: ...

    answer.__module__ = module
    return answer  # type: ignore[return-value]


def route(path: str, module: str = "vllm.entrypoints.openai.api_server") -> Any:
    return SimpleNamespace(path=path, endpoint=endpoint(module))


VLLM = [route("/health"), route("/v1/chat/completions")]


def application(routes: list[Any], framework: str = "fastapi", name: str = "FastAPI") -> Any:
    module: ModuleType = importlib.import_module(f"{framework}.applications")
    return getattr(module, name)(routes)


@pytest.mark.parametrize("first", ["install", "import"])
def test_outermost_around_vllm(frameworks: Path, first: str) -> None:
    """Whether FastAPI was imported before or after, the finished stack is wrapped once."""
    if first == "import":
        application([])
    for _ in range(3):
        plugin.install()
    stack = application(VLLM).build_middleware_stack()
    assert isinstance(stack, SidelightMiddleware)
    assert repr(stack.app) == "'stack'"


@pytest.mark.parametrize(
    "routes",
    [
        [],
        [route("/health")],
        [route("/v1/chat/completions", "my_gateway.app")],
        [route("/v1/chat/completions", "vllm_like.app")],
        [SimpleNamespace()],
    ],
)
def test_other_applications(frameworks: Path, routes: list[Any]) -> None:
    """An application that is not vLLM's API server keeps its own stack."""
    plugin.install()
    assert application(routes).build_middleware_stack() == "stack"


def test_mounted_and_starlette(frameworks: Path) -> None:
    """Routes below a mount count, and so does an application of bare Starlette."""
    plugin.install()
    app = application([SimpleNamespace(path="", routes=VLLM)], "starlette", "Starlette")
    assert isinstance(app.build_middleware_stack(), SidelightMiddleware)


def test_no_temporary_directory(frameworks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are observed all the same, by a thread."""

    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(rendezvous, "_chosen_by", None)
    monkeypatch.setenv(rendezvous.DIRECTORY_VARIABLE, "")
    plugin.install()
    assert isinstance(application(VLLM).build_middleware_stack(), SidelightMiddleware)
    assert not plugin._warned


@pytest.mark.parametrize("fault", [None, RuntimeError])
def test_several_api_servers(
    frameworks: Path, monkeypatch: pytest.MonkeyPatch, fault: type[Exception] | None
) -> None:
    """The process that is about to start them may serve them; they start in any case."""
    folder = frameworks / "vllm" / "v1"
    folder.mkdir(parents=True)
    method = "    def __init__(self, *given):\n        self.given = given\n"
    source = f"class APIServerProcessManager:\n{method}"
    (folder / "utils.py").write_text(source)
    for module in ("vllm", "vllm.v1", "vllm.v1.utils"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    served: list[int] = []

    def serve() -> None:
        served.append(1)
        if fault is not None:
            raise fault

    monkeypatch.setattr(starter, "serve_api_servers", serve)
    for _ in range(2):
        plugin.install()
    manager = importlib.import_module("vllm.v1.utils").APIServerProcessManager(1, 2)
    assert (manager.given, served) == ((1, 2), [1])
    for module in ("vllm", "vllm.v1", "vllm.v1.utils"):
        del sys.modules[module]


def test_place_is_gone(frameworks: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the method does not exist vLLM is left alone, with one line."""
    (frameworks / "fastapi" / "applications.py").write_text("class FastAPI: pass\n")
    with caplog.at_level(logging.WARNING):
        plugin.install()
        importlib.import_module("fastapi.applications")
    assert len(records_of(caplog)) == 1
    assert "vLLM is not affected" in caplog.text


def test_an_engine_says_nothing(
    frameworks: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Engine cores and workers import FastAPI too; the line is in the log once."""
    monkeypatch.setattr(multiprocessing.current_process(), "_name", "EngineCore_DP0")
    (frameworks / "fastapi" / "applications.py").write_text("class FastAPI: pass\n")
    plugin.install()
    importlib.import_module("fastapi.applications")
    assert records_of(caplog) == []


def test_fault_while_wrapping(
    frameworks: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours while the application starts leaves it its stack, with one line."""

    def fault() -> None:
        raise RuntimeError

    monkeypatch.setattr(runtime, "get", fault)
    plugin.install()
    assert application(VLLM).build_middleware_stack() == "stack"
    assert len(records_of(caplog)) == 1


def test_never_raises(frameworks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in `install` would stop vLLM's start."""

    def fault(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(plugin, "is_imported", fault)
    plugin.install()


def test_disabled(frameworks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off by the environment it hooks nothing."""
    monkeypatch.setenv(DISABLED, "1")
    plugin.install()
    assert application(VLLM).build_middleware_stack() == "stack"


def test_imports_no_server(frameworks: Path) -> None:
    """In an engine core, which serves nothing, FastAPI is not imported for our sake."""
    plugin.install()
    assert "fastapi.applications" not in sys.modules
