"""Lets the processes of a vLLM server start with less CPU. Python finds this by PYTHONPATH.

Garbage is collected more rarely: to import all it needs takes 4.6 instead of 5.5 s of CPU. vLLM
itself collects and freezes what it has once it is ready.

Nor is the compiler of PyTorch imported, an eighth of the rest, where nothing is compiled.

And what a server has imported is not imported by each of its processes. vLLM spawns them: each
begins with nothing, and loads the plugins itself. Here they are forks of a process that is as the
server was before it loaded plugins, so that each still does. A demo's vLLM spawns them.
"""

from __future__ import annotations

import gc
import importlib.machinery
import os
import socket
import sys
from types import FrameType, ModuleType
from typing import Any

# vLLM's function that imports the compiler even if nothing is compiled. It does without if it must.
_IMPORTING = "_patch_inductor_fallback_allow_list"
_PLUGINS = "vllm.plugins"


class _WithoutCompiler:
    """Keeps the compiler from that function, and from what is decorated to be compiled."""

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> None:
        if name != "torch._inductor.lowering":
            return
        caller: FrameType | None = sys._getframe(1)
        while caller is not None and caller.f_code.co_name != _IMPORTING:
            caller = caller.f_back
        if caller is not None:
            # Decorated functions stay as they are; the decorators would import the compiler too.
            torch: Any = sys.modules["torch"]
            torch.compile = _left_as_it_is
            raise ImportError(name)


def _left_as_it_is(function: Any = None, **_: Any) -> Any:
    return _left_as_it_is if function is None else function


class _ForkedBeforePlugins:
    """Forks the process that others are forks of right before plugins are loaded."""

    def find_spec(
        self, name: str, path: Any, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _PLUGINS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run: Any = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                load = module.load_general_plugins
                once = iter([_spawn_by_forking])

                def load_general_plugins() -> None:
                    # Modules that imported it by name call this function, also in the forks.
                    for spawn_by_forking in once:
                        spawn_by_forking()
                    load()

                module.load_general_plugins = load_general_plugins

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _spawn_by_forking() -> None:
    """Have Python's fork server start what is to be spawned, and be a fork of this process itself.

    Python would start it as a new interpreter, with nothing imported.
    """
    from multiprocessing import connection, context, forkserver, resource_tracker, spawn

    server: Any = forkserver._forkserver
    methods: Any = context._concrete_contexts  # type: ignore[attr-defined]
    address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
    resource_tracker.ensure_running()
    _pass_environment(spawn)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    # The server ends once nobody has the other end any more.
    alive, others_alive = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(others_alive)
            forkserver.main(listener.detach(), alive, [])
        finally:
            os._exit(0)
    os.close(alive)
    listener.close()
    server._forkserver_pid = pid
    server._forkserver_address, server._forkserver_alive_fd = address, others_alive
    methods["spawn"] = methods["forkserver"]


def _pass_environment(spawn: Any) -> None:
    """Give a process the environment of the one that starts it, as that is by then."""
    describe, prepare = spawn.get_preparation_data, spawn.prepare

    def get_preparation_data(name: str) -> dict[str, Any]:
        return {**describe(name), "environment": dict(os.environ)}

    def prepared(data: dict[str, Any]) -> None:
        environment = data.pop("environment")
        for name in os.environ.keys() - environment:
            del os.environ[name]
        # No other is written: where they are in memory is how vLLM's processes find their title.
        for name, value in environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        # It decides at its import, by a variable, whether several processes share a page.
        values: Any = sys.modules.get("prometheus_client.values")
        if values is not None:
            values.ValueClass = values.get_value_class()
        prepare(data)

    spawn.get_preparation_data, spawn.prepare = get_preparation_data, prepared


gc.set_threshold(100_000)
if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
    sys.meta_path.insert(0, _WithoutCompiler)
if sys.argv[1:2] == ["serve"]:
    sys.meta_path.insert(0, _ForkedBeforePlugins())
