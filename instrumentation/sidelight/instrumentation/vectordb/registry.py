"""The vector databases that Sidelight supports: a folder each, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidelight.instrumentation.vectordb import chroma, milvus, qdrant
from sidelight.instrumentation.vectordb.core.description import Database, OperationKind
from sidelight.instrumentation.vectordb.core.library import ClientLibrary

LIBRARIES: Final[tuple[ClientLibrary, ...]] = (
    milvus.LIBRARY,
    qdrant.LIBRARY,
    chroma.LIBRARY,
)

DATABASES: Final[tuple[Database, ...]] = tuple(library.database for library in LIBRARIES)
"""Their descriptions, which the collector and the docs read."""

OPERATION_KINDS: Final[Mapping[str, Mapping[str, OperationKind]]] = MappingProxyType(
    {
        database.name: {operation.name: operation.kind for operation in database.operations()}
        for database in DATABASES
    }
)
"""Kinds of operations by `db.system.name` and `db.operation.name`."""
