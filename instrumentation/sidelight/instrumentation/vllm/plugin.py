"""vLLM's general plugin: observes the API server's application and its engine client.

vLLM calls `install` in each of its processes when it makes the engine arguments. vLLM's own
`build_app` moves from version to version, so the hook is one layer below it: Starlette builds
an application's middleware stack on the first call, and the stack is wrapped at that moment if
the application has vLLM's inference routes. The middleware is around the whole stack, so it
also sees requests that inner layers refuse (401, 413, 503). The engine client is observed as soon
as it is made.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from multiprocessing import current_process
from typing import Any, Final

from sidelight.instrumentation.imports import ImportHooks, is_imported
from sidelight.instrumentation.settings import is_disabled

# Only to be imported now, as it keeps the environment before vLLM writes to it.
from sidelight.instrumentation.vllm import environment  # noqa: F401
from sidelight.instrumentation.vllm.faults import reraise_interrupt
from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.observer import rendezvous

_METHOD: Final = "build_middleware_stack"
_MARK: Final = "_sidelight_wraps"
_SERVE_NOTHING: Final = ("EngineCore", "VllmWorker")
_APPLICATIONS: Final = {"starlette.applications": "Starlette", "fastapi.applications": "FastAPI"}
_ENGINE_CLIENTS: Final = {"vllm.v1.engine.async_llm": "AsyncLLM"}
_STARTERS: Final = {"vllm.v1.utils": "APIServerProcessManager"}
_MODULES: Final = (*_APPLICATIONS, *_ENGINE_CLIENTS, *_STARTERS)
_hooks: Final = ImportHooks()
_warned = False


def install() -> None:
    """Install the hooks. Never raises, may be called again, and imports no server library.

    In processes that make neither (engine cores, GPU workers), the hooks never run.
    """
    try:
        if is_disabled(os.environ):
            return
        _hooks.watch(_MODULES, _imported)
        for module in _MODULES:
            if is_imported(module):
                _imported(module)
        # Without a place, a thread does the work: the line that says so comes once it is needed.
        with contextlib.suppress(OSError):
            rendezvous.announce()
    except BaseException as error:  # noqa: BLE001 - an exception here keeps vLLM from starting
        _fault(error)


def _imported(module: str) -> None:
    try:
        if module in _ENGINE_CLIENTS:
            _observe_engine_client(module)
            return
        if module in _STARTERS:
            _observe_starter(module)
            return
        class_name = _APPLICATIONS[module]
        application = getattr(sys.modules[module], class_name, None)
        if application is None or not hasattr(application, _METHOD):
            _warn(f"{class_name}.{_METHOD} does not exist")
        # A subclass without its own method uses the one of its base class, which is wrapped.
        elif _METHOD in vars(application) and _MARK not in vars(application):
            setattr(application, _METHOD, _observed(vars(application)[_METHOD]))
            setattr(application, _MARK, True)
    except BaseException as error:  # noqa: BLE001 - raised into the importing module otherwise
        _fault(error)


def _observe_engine_client(module: str) -> None:
    from sidelight.instrumentation.vllm import async_llm

    client = getattr(sys.modules[module], _ENGINE_CLIENTS[module], None)
    if client is None:
        _warn(f"{_ENGINE_CLIENTS[module]} does not exist")
    else:
        async_llm.install(client)


def _observe_starter(module: str) -> None:
    # Without it each API server does the work itself.
    manager = getattr(sys.modules[module], _STARTERS[module], None)
    if manager is not None and _MARK not in vars(manager):
        manager.__init__ = _serving(manager.__init__)
        setattr(manager, _MARK, True)


def _serving(start_api_servers: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start_api_servers)
    def __init__(manager: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        try:
            from sidelight.instrumentation.vllm.observer import starter

            starter.serve_api_servers()
        except BaseException as error:  # noqa: BLE001 - vLLM starts its API servers without us
            _fault(error)
        start_api_servers(manager, *args, **kwargs)

    return __init__


def _observed(build_stack: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(build_stack)
    def build_middleware_stack(application: Any, *args: Any, **kwargs: Any) -> Any:
        stack = build_stack(application, *args, **kwargs)
        return _with_middleware(stack, application)

    return build_middleware_stack


def _with_middleware(stack: Any, application: Any) -> Any:
    try:
        from sidelight.instrumentation.vllm import runtime
        from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
        from sidelight.instrumentation.vllm.routes import serves_vllm

        if isinstance(stack, SidelightMiddleware) or not serves_vllm(application.routes):
            return stack
        shared = runtime.get()
        return stack if shared is None else SidelightMiddleware(stack, shared)
    except BaseException as error:  # noqa: BLE001 - the application starts without us
        _fault(error)
        return stack


def _fault(error: BaseException) -> None:
    reraise_interrupt(error)
    _warn(type(error).__name__)


def _warn(reason: str) -> None:
    global _warned
    # Engines and workers import FastAPI as well, and serve nothing.
    if _warned or current_process().name.startswith(_SERVE_NOTHING):
        return
    _warned = True
    logger.warning(
        "Sidelight: cannot install a hook (%s). Requests get incomplete spans or none; vLLM is not "
        "affected. Check that this version of vLLM is one that docs/vllm.md names, and update "
        "Sidelight.", reason,
    )  # fmt: skip
