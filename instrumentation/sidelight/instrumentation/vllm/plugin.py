"""vLLM's general plugin: puts the middleware around the API server's application.

vLLM calls `install` in each of its processes when it makes the engine arguments. vLLM's own
`build_app` moves from version to version, so the hook is one layer below it: Starlette builds
an application's middleware stack on the first call, and the stack is wrapped at that moment if
the application has vLLM's inference routes. The middleware is around the whole stack, so it
also sees requests that inner layers refuse (401, 413, 503).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import wrapt

from sidelight.instrumentation.settings import Settings

# Only to be imported now, as it keeps the environment before vLLM writes to it.
from sidelight.instrumentation.vllm import environment  # noqa: F401

_logger = logging.getLogger(__name__)
_METHOD: Final = "build_middleware_stack"
_MARK: Final = "_sidelight_wraps_stack"
_warned = False


def install() -> None:
    """Install the hook. Never raises, may be called again, and imports no server library.

    In processes that never import FastAPI (engine cores, GPU workers), the hook never runs.
    """
    try:
        if Settings.from_environment().disabled:
            return
        for module, name in (
            ("starlette.applications", "Starlette"),
            ("fastapi.applications", "FastAPI"),
        ):
            wrapt.register_post_import_hook(_hook(name), module)
    except Exception as error:  # noqa: BLE001 - an exception here keeps vLLM from starting
        _warn(type(error).__name__)


def _hook(class_name: str) -> Callable[[Any], None]:
    def patch(module: Any) -> None:
        try:
            application = getattr(module, class_name, None)
            if application is None or not hasattr(application, _METHOD):
                _warn(f"{class_name}.{_METHOD} does not exist")
            # A subclass without its own method uses the one of its base class, which is wrapped.
            elif _METHOD in vars(application) and _MARK not in vars(application):
                wrapt.wrap_function_wrapper(application, _METHOD, _wrap_stack)
                setattr(application, _MARK, True)
        except Exception as error:  # noqa: BLE001 - raised into the importing module otherwise
            _warn(type(error).__name__)

    return patch


def _wrap_stack(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    stack = wrapped(*args, **kwargs)
    try:
        from sidelight.instrumentation.vllm import runtime
        from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
        from sidelight.instrumentation.vllm.routes import serves_vllm

        if isinstance(stack, SidelightMiddleware) or not serves_vllm(instance.routes):
            return stack
        shared = runtime.get()
        return stack if shared is None else SidelightMiddleware(stack, shared)
    except Exception as error:  # noqa: BLE001 - the application starts without us
        _warn(type(error).__name__)
        return stack


def _warn(reason: str) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    _logger.warning(
        "Sidelight: cannot install the middleware (%s). Requests get no spans; vLLM is not "
        "affected.", reason,
    )  # fmt: skip
