"""Every query that panels and rules are made from, ready to be asked with any view."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from sidelight.dashboards.catalog import vllm
from sidelight.dashboards.promql import Expr
from sidelight.dashboards.queries import (
    batching,
    collector,
    engine,
    gpu,
    injector,
    kv_cache,
    kv_events,
    milvus,
    qdrant,
    requests,
    retrieval,
    usage,
)
from sidelight.dashboards.view import View

ViewQuery = Callable[[View], Expr]

# What a query asks for besides the view, by the name of its parameter.
_ARGUMENTS: dict[str, Any] = {
    "share": 0.95,
    "bound": "1",
    "phase": vllm.QUEUE_TIME,
    "size": "2",
}
# Where that does not fit: a bound must be a bucket's.
_BOUNDS = {"duration_within": "10.24|10", "time_share_above": "0.5"}


def _queries_of(module: ModuleType) -> dict[str, ViewQuery]:
    queries: dict[str, ViewQuery] = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        parameters = list(inspect.signature(function).parameters)
        if name.startswith("_") or function.__module__ != module.__name__:
            continue
        assert parameters[0] == "view", f"{module.__name__}.{name} takes no view"
        arguments = {parameter: _ARGUMENTS[parameter] for parameter in parameters[1:]}
        if "bound" in arguments:
            arguments["bound"] = _BOUNDS.get(name, arguments["bound"])
        topic = module.__name__.rpartition(".")[2]
        queries[f"{topic}.{name}"] = functools.partial(function, **arguments)
    return queries


# New functions of these modules are found, new modules are not; a test compares the folder.
TOPICS = (
    batching,
    collector,
    engine,
    gpu,
    injector,
    kv_cache,
    kv_events,
    milvus,
    qdrant,
    requests,
    retrieval,
    usage,
)
QUERIES: dict[str, ViewQuery] = {
    name: query for topic in TOPICS for name, query in _queries_of(topic).items()
}
