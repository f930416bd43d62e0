"""A client is observed once the app has imported it, and never imported for the app."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
import wrapt

from sidelight.instrumentation.imports import exists
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import chroma
from sidelight.instrumentation.vectordb.core.description import Operation, WrappedClasses
from sidelight.instrumentation.vectordb.core.library import ClientLibrary
from sidelight.instrumentation.vectordb.core.method import ObservedMethod
from sidelight.instrumentation.vectordb.core.patching import Patches
from support.logged import messages_of, records_of
from support.recording import Recording

PACKAGE = "made_up_client"
# wrapt adds its finder with its first hook and never again: it must be there before a test
# compares finders, and stay for the tests of other files.
wrapt.register_post_import_hook(lambda module: None, f"{PACKAGE}_of_nobody")
CLASSES = WrappedClasses(
    classes=((f"{PACKAGE}.sync:Client",), (f"{PACKAGE}.lazy:AsyncClient",)),
    operations=(Operation(name="search", kind="search", methods=("search",)),),
    essential="search",
)
SYNC = "class Client:\n    def search(self, name): return [name]\n"
LAZY = "class AsyncClient:\n    async def search(self, name): return [name]\n"


def _prepare(patches: Patches, observer: Any) -> Callable[[], None]:
    def describe(call: Any, _client: Any, arguments: Any) -> None:
        call.target = observer.targets.get("search", arguments["name"])

    methods = {"search": ObservedMethod("search", describe)}
    return lambda: patches.observe(CLASSES, observer, methods)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package whose second module is imported by nobody but the app."""
    package = tmp_path / PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text(f"from {PACKAGE}.sync import Client\n")
    (package / "sync.py").write_text(SYNC)
    (package / "lazy.py").write_text(LAZY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "1")
    yield package
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        del sys.modules[name]


@pytest.fixture
def library(folder: Path) -> Iterator[ClientLibrary]:
    """The client library of that package."""
    database = chroma.LIBRARY.database
    client = replace(database.client, package=PACKAGE, wrapped=(CLASSES,))
    library = ClientLibrary(replace(database, client=client), chroma.LIBRARY.errors, _prepare)
    yield library
    library.uninstrument()


@pytest.fixture
def recording(library: ClientLibrary) -> Iterator[Recording]:
    """What is recorded of the client, which is observed before it is imported."""
    recording = Recording()
    finders = list(sys.meta_path)
    assert library.instrument(recording.tracer_provider, recording.meter_provider, Settings())
    assert [name for name in sys.modules if name.startswith(PACKAGE)] == []
    yield recording
    library.uninstrument()
    assert sys.meta_path == finders
    recording.close()


def names(recording: Recording) -> list[str]:
    """Names of the spans so far."""
    return [span.name for span in recording.spans()]


class TestImports:
    def test_of_the_app_are_observed(self, recording: Recording) -> None:
        """As soon as the class is there; the module looks as if nobody had watched."""
        client: Any = importlib.import_module(PACKAGE)
        client.Client().search("docs")

        assert names(recording) == ["search docs"]
        for module in (client, sys.modules[f"{PACKAGE}.sync"]):
            assert type(module.__loader__) is SourceFileLoader
            assert module.__spec__ is not None
            assert module.__spec__.loader is module.__loader__
        assert f"{PACKAGE}.lazy" not in sys.modules

    def test_of_a_module_later_on(
        self, recording: Recording, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A module that is imported on first use is not missing, and observed when it comes."""
        importlib.import_module(PACKAGE)
        lazy: Any = importlib.import_module(f"{PACKAGE}.lazy")
        with pytest.raises(StopIteration):
            lazy.AsyncClient().search("docs").send(None)

        assert names(recording) == ["search docs"]
        assert records_of(caplog, "sidelight") == []

    def test_of_a_submodule_alone(self, recording: Recording) -> None:
        """The package comes with it."""
        sync: Any = importlib.import_module(f"{PACKAGE}.sync")
        sync.Client().search("docs")

        assert names(recording) == ["search docs"]

    def test_again(self, recording: Recording) -> None:
        """A reloaded module has new classes."""
        importlib.import_module(PACKAGE)
        sync: Any = importlib.import_module(f"{PACKAGE}.sync")
        old = sync.Client()
        sync = importlib.reload(sync)
        sync.Client().search("new")
        old.search("old")

        assert names(recording) == ["search new", "search old"]

    def test_that_fail_half_way(self, folder: Path, recording: Recording) -> None:
        """The app sees its error; once the import succeeds the client is observed."""
        good = (folder / "__init__.py").read_text()
        (folder / "__init__.py").write_text(good + "raise RuntimeError('an old sqlite3')\n")
        with pytest.raises(RuntimeError, match="an old sqlite3"):
            importlib.import_module(PACKAGE)
        (folder / "__init__.py").write_text(good)
        importlib.invalidate_caches()
        client: Any = importlib.import_module(PACKAGE)
        client.Client().search("docs")

        assert names(recording) == ["search docs"]

    def test_in_threads(self, recording: Recording) -> None:
        """Two threads that import at once observe each call once."""
        together = threading.Barrier(2)

        def search() -> None:
            together.wait()
            client: Any = importlib.import_module(PACKAGE)
            client.Client().search("docs")

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert names(recording) == ["search docs"] * 2

    @pytest.mark.alone
    def test_in_a_forked_child(self, recording: Recording) -> None:
        """The child imports and is observed by itself."""
        child = os.fork()
        if child == 0:
            client: Any = importlib.import_module(PACKAGE)
            client.Client().search("docs")
            os._exit(0 if names(recording) == ["search docs"] else 1)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert names(recording) == []

    def test_that_others_watch_too(self, recording: Recording) -> None:
        """wrapt's hooks ask all finders for a module, ours among them."""
        heard: list[str] = []
        wrapt.register_post_import_hook(lambda module: heard.append(module.__name__), PACKAGE)
        client: Any = importlib.import_module(PACKAGE)
        client.Client().search("docs")

        assert heard == [PACKAGE]
        assert names(recording) == ["search docs"]

    def test_that_are_only_looked_for(self, recording: Recording) -> None:
        """An app that asks whether a client is there does not import it."""
        spec = importlib.util.find_spec(PACKAGE)

        assert spec is not None
        assert spec.loader is not None
        assert spec.loader.get_source(PACKAGE).startswith("from")  # type: ignore[attr-defined]
        assert PACKAGE not in sys.modules


def test_what_is_imported_already_is_observed_at_once(library: ClientLibrary) -> None:
    """Also objects that the app has made before."""
    client: Any = importlib.import_module(PACKAGE)
    made = client.Client()
    recording = Recording()
    library.instrument(recording.tracer_provider, recording.meter_provider, Settings())
    made.search("docs")
    library.uninstrument()
    made.search("docs")

    assert names(recording) == ["search docs"]
    recording.close()


def test_nothing_is_observed_that_is_imported_after_uninstrument(
    library: ClientLibrary, recording: Recording
) -> None:
    """The hooks are gone with the wrappers."""
    library.uninstrument()
    client: Any = importlib.import_module(PACKAGE)
    client.Client().search("docs")

    assert names(recording) == []


def test_what_is_missing_is_told_once(
    folder: Path, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """A module that no longer exists, when the package has been imported."""
    (folder / "lazy.py").unlink()
    importlib.invalidate_caches()
    importlib.import_module(PACKAGE)
    importlib.reload(sys.modules[f"{PACKAGE}.sync"])

    (line,) = messages_of(caplog, "sidelight")
    assert f"missing: {PACKAGE}.lazy:AsyncClient" in line


def test_whether_a_module_exists_is_found_without_an_import(folder: Path) -> None:
    """Neither the module nor the packages above it are imported."""
    assert exists(f"{PACKAGE}.lazy")
    assert not exists(f"{PACKAGE}.gone")
    assert not exists(f"{PACKAGE}.lazy.gone")
    assert not exists("gone.lazy")
    assert PACKAGE not in sys.modules
