"""A client library is found by its distributions, and observed once."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import chroma
from sidelight.instrumentation.vectordb.core.library import ClientLibrary
from sidelight.instrumentation.vectordb.core.patching import Patches

APP = "a name of this module that is replaced"


def replace_app(patches: Patches, _observer: Any) -> Callable[[], None]:
    """Installs one patch, without any client."""
    return lambda: patches._put(sys.modules[__name__], "APP", APP, APP)


def test_a_package_may_have_two_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    """chromadb-client is Chroma's client without its server; the version is that of either."""

    def version(distribution: str) -> str:
        if distribution == "chromadb":
            raise PackageNotFoundError(distribution)
        return "1.5.9"

    monkeypatch.setattr(importlib.metadata, "version", version)
    library = ClientLibrary(chroma.LIBRARY.database, chroma.LIBRARY.errors, replace_app)

    assert library.instrument(settings=Settings())
    library.uninstrument()


def test_a_client_that_is_not_installed_is_an_import_error() -> None:
    """The message names the package to install."""
    database = chroma.LIBRARY.database
    missing = replace(database, client=replace(database.client, distributions=("no-such-client",)))
    library = ClientLibrary(missing, chroma.LIBRARY.errors, replace_app)

    with pytest.raises(ImportError, match="pip install no-such-client"):
        library.instrument(settings=Settings())
