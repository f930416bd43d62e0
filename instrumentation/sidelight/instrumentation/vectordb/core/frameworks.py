"""Which span a framework has for the retrieval that a call is part of.

A search inside LangChain's or LlamaIndex's retriever is no second retrieval. How their spans look
when they start differs by instrumentor. OpenInference never makes LangChain's spans current, and
Langfuse not those of async calls: these are found by the run that LangChain has on the stack.
Seen with openinference-instrumentation-langchain 0.1.80 and -llama-index 4.6, langfuse 5.0 and
opentelemetry-instrumentation-langchain 0.62.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from opentelemetry import trace

from sidelight import conventions as names

_RETRIEVERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "langfuse.observation.type": frozenset({"retriever"}),
        names.OPERATION: frozenset({"retrieval", "retrieve", "vector_db_retrieve"}),
    }
)
"""Attributes that a retriever's span starts with, where it has no kind yet."""
_NAMES_AT_START: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"openinference.instrumentation.llama_index": (".retrieve", "._retrieve", ".aretrieve",
                                                   "._aretrieve")}
)  # fmt: skip
_NO_NAMES: Final[tuple[str, ...]] = ()
"""Ends of the names of such spans by scope, where they start without attributes."""

_DETACHED: Final = ("openinference.instrumentation.langchain", "langfuse.langchain")
_RETRIEVERS_MODULE: Final = "langchain_core.retrievers"
_CONFIG_MODULE: Final = "langchain_core.runnables.config"
_NO_RUNS: Final[Mapping[str, Any]] = MappingProxyType({})
MAX_RUNS: Final = 64
"""The newest runs of LangChain that are looked through for the one that a call belongs to."""
MAX_FRAMES: Final = 32
"""Frames of the stack that are looked through for LangChain's retriever."""


def is_retriever(span: trace.Span) -> bool:
    """Whether `span` is the retriever of a framework."""
    attributes = getattr(span, "attributes", None)
    if attributes is None:
        return False
    scope = _scope(span)
    # A search inside a search, such as that of a cache, is one of its own.
    if scope == names.SCOPE_VECTORDB:
        return False
    kind = attributes.get(names.SPAN_KIND)
    if kind is not None:
        return bool(kind == "RETRIEVER")
    if any(attributes.get(name) in values for name, values in _RETRIEVERS.items()):
        return True
    return str(getattr(span, "name", "")).endswith(_NAMES_AT_START.get(scope, _NO_NAMES))


def _scope(span: trace.Span) -> str:
    return str(getattr(getattr(span, "instrumentation_scope", None), "name", ""))


def langchain_parent(current: trace.Span) -> tuple[trace.Span, bool] | None:
    """The span below which LangChain makes a call, and whether a retriever makes it.

    None if LangChain does not make the call, or if nobody has a span of it.
    """
    modules = sys.modules
    # The rest costs microseconds, so it is for those whose spans are not current.
    if not any(name in modules for name in _DETACHED):
        return None
    module = modules.get(_RETRIEVERS_MODULE)
    if module is None:
        return None
    manager = _retriever_on_stack(module.__file__)
    if manager is not None:
        span, is_inside = _span_of(manager.handlers, manager.run_id), True
    else:
        span, is_inside = _span_of_config()
    if span is None:
        return None
    # What was made current after the run started is inside of it.
    if (getattr(current, "start_time", 0) or 0) > (getattr(span, "start_time", 0) or 0):
        is_own = _scope(current) == names.SCOPE_VECTORDB
        return (current, True) if is_inside and not is_own else None
    return span, is_inside


def _retriever_on_stack(file: str | None) -> Any:
    """The run manager of the retriever that makes this call in this thread."""
    frame = sys._getframe(1)
    for _ in range(MAX_FRAMES):
        if frame.f_code.co_filename == file:
            return frame.f_locals.get("run_manager")
        if frame.f_back is None:
            break
        frame = frame.f_back
    return None


def _span_of_config() -> tuple[trace.Span | None, bool]:
    """The span of the chain whose steps run here, or of the retriever that is one of them.

    LangChain runs sync retrievers of async chains in a thread, which has the chain's settings
    and not its stack.
    """
    config = getattr(sys.modules.get(_CONFIG_MODULE), "var_child_runnable_config", None)
    settings = None if config is None else config.get()
    callbacks: Any = settings.get("callbacks") if isinstance(settings, dict) else None
    run_id = getattr(callbacks, "parent_run_id", None)
    if run_id is None:
        return None, False
    span = _span_of(callbacks.handlers, run_id)
    for handler in callbacks.handlers:
        retriever = _open_retriever(handler, run_id, span)
        if retriever is not None:
            return retriever, True
    return span, False


def _open_retriever(handler: Any, run_id: Any, above: trace.Span | None) -> trace.Span | None:
    """The span of the youngest open retriever below a run, as a callback handler has it."""
    # OpenInference's spans have no attributes before their end, its runs have a type.
    runs: dict[Any, Any] = getattr(handler, "run_map", None) or {}
    for run in islice(reversed(runs.values()), MAX_RUNS):
        if run.run_type == "retriever" and run.parent_run_id == run_id:
            return _span_of([handler], run.id)
    observations: dict[Any, Any] = getattr(handler, "_runs", None) or {}
    for observation in islice(reversed(observations.values()), MAX_RUNS):
        span: trace.Span | None = getattr(observation, "_otel_span", None)
        if span is not None and above is not None and is_retriever(span):
            parent = getattr(span, "parent", None)
            if parent is not None and parent.span_id == above.get_span_context().span_id:
                return span
    return None


def _span_of(handlers: Iterable[Any], run_id: Any) -> trace.Span | None:
    """The span that one of LangChain's callback handlers has of a run."""
    for handler in handlers:
        if hasattr(handler, "get_span"):  # OpenInference
            span = handler.get_span(run_id)
        else:  # Langfuse
            observations = getattr(handler, "_runs", _NO_RUNS)
            span = getattr(observations.get(run_id), "_otel_span", None)
        if isinstance(span, trace.Span):
            return span
    return None
