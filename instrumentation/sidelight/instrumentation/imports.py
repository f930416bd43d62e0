"""Tells when modules of a library have been imported; imports none itself.

A library may have side effects when it is imported: it reads `.env` files, configures logging,
starts threads. So an app that does not import it must not get it from us, and one that prepares
something first, such as another `sqlite3` for Chroma, must be able to.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

Imported = Callable[[str], None]
"""Called with the name of a module after each time its code has run."""


class ImportHooks:
    """Watches the imports of a process; does nothing until `watch` is called."""

    def __init__(self) -> None:
        self._finder: Final = _Finder()

    def watch(self, modules: Collection[str], imported: Imported) -> None:
        """Calls `imported` after each import and reload of `modules` from now on."""
        self._finder.imported = imported
        self._finder.modules = frozenset(modules)
        if self._finder not in sys.meta_path:
            # First, as the finder that has the module ends the search.
            sys.meta_path.insert(0, self._finder)

    def stop(self) -> None:
        """Watches nothing any more."""
        self._finder.modules = frozenset()
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)


def is_imported(module: str) -> bool:
    """Whether the code of a module has run to its end."""
    loaded = sys.modules.get(module)
    return loaded is not None and not getattr(
        getattr(loaded, "__spec__", None), "_initializing", False
    )


def exists(module: str) -> bool:
    """Whether a module of a package that has been imported is there to be imported."""
    # `importlib.util.find_spec` would import the packages above it.
    path: Sequence[str] | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        if name in sys.modules:
            if sys.modules[name] is None:
                return False
            path = getattr(sys.modules[name], "__path__", None)
        else:
            spec = PathFinder.find_spec(name, path)
            if spec is None:
                return False
            path = spec.submodule_search_locations
    return True


class _Finder:
    """Asks the other finders for a watched module, and has its loader tell when it is done."""

    def __init__(self) -> None:
        self.modules: frozenset[str] = frozenset()
        self.imported: Imported = lambda _module: None
        # Another library's finder may ask all finders too.
        self._asking = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a watched module; None for any other, which is then found without us."""
        asked = getattr(self._asking, "name", None)
        if name not in self.modules or name == asked:
            return None
        self._asking.name = name
        try:
            spec = self._spec_of_others(name, path, target)
        finally:
            # A finder may import a watched module while it looks for another one.
            self._asking.name = asked
        # A namespace package has no code that could run.
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self)
        return spec

    def _spec_of_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        # A copy, as a finder may add or remove others.
        for finder in list(sys.meta_path):
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None


class _Loader(Loader):
    """The loader of a watched module for one import; what reads the loader gets the real one."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the real loader does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module's code, and then tells that it has."""
        # Before the code runs, which may read its own resources through its loader.
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        # What this raises is the app's to see, and nothing is observed then.
        self._loader.exec_module(module)
        self._finder.imported(module.__name__)
