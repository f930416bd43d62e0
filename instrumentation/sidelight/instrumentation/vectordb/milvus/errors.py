"""What pymilvus raises: codes and messages of Milvus and gRPC."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidelight.instrumentation.vectordb.core.errors import ClientErrors
from sidelight.instrumentation.vectordb.core.failures import (
    Failure,
    is_of_library,
    library_type,
    text_of,
)
from sidelight.instrumentation.vectordb.milvus.description import MILVUS

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.call import Arguments

_DATA_TYPES: Final = (
    "Bool", "Int8", "Int16", "Int32", "Int64", "Float", "Double", "String", "VarChar", "Array",
    "Json", "Text", "Geometry", "Timestamptz", "BinaryVector", "FloatVector", "Float16Vector",
    "BFloat16Vector", "SparseFloatVector", "Int8Vector", "float_vector", "binary_vector",
    "float16_vector", "bfloat16_vector", "sparse_float_vector", "int8_vector", "interval",
    "dynamic", "None", "Struct", "ARRAY_OF_VECTOR", "SPARSE_FLOAT_VECTOR", "FLOAT_VECTOR",
    "BINARY_VECTOR", "FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR",
)  # fmt: skip
_OPERATORS: Final = (
    "==", "!=", "<", "<=", ">", ">=", "&&", "||", "=", "&", "|", "!", "+", "-", "*", "**", "/",
    "%", "~", "(", ")", "[", "]", ",", ".", "<>", "and", "or", "not", "in", "like", "is", "null",
    "exists", "text_match", "phrase_match", "json_contains", "json_contains_all",
    "json_contains_any", "array_contains", "array_contains_all", "array_contains_any",
    "array_length", "random_sample", "ST_CONTAINS", "ST_WITHIN", "ST_INTERSECTS", "ST_ISVALID",
    "ST_DWITHIN", "ST_EQUALS", "ST_TOUCHES", "ST_OVERLAPS", "ST_CROSSES", "geometry_contains",
    "geometry_within", "geometry_intersects",
)  # fmt: skip
_INDEX_TYPES: Final = (
    "FLAT", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "HNSW", "HNSW_SQ", "HNSW_PQ", "SCANN", "DISKANN",
    "AUTOINDEX", "INVERTED", "TRIE", "STL_SORT", "BITMAP", "SPARSE_INVERTED_INDEX", "SPARSE_WAND",
    "BIN_FLAT", "BIN_IVF_FLAT", "GPU_CAGRA", "BRUTE_FORCE",
)  # fmt: skip
_GRPC_CODES: Final = (
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_WORDS: Final = frozenset(
    (
        *_DATA_TYPES,
        *(name.lower() for name in _DATA_TYPES),
        *(f"DataType.{name.upper()}" for name in _DATA_TYPES),
        *_OPERATORS,
        *(name.upper() for name in _OPERATORS),
        *_INDEX_TYPES,
        *_GRPC_CODES,
        *MILVUS.score_directions,
        "default", "_default", "left", "right", "max_length", "max_capacity", "$meta", "dim",
        "Strong", "Session", "Bounded", "Eventually", "Customized",
        "rrf", "weighted", "RRFRanker", "WeightedRanker",
    )
)  # fmt: skip


def describe_error(error: BaseException) -> Failure:
    """Milvus's code (or gRPC's, where no answer came) and its message.

    The code differs by server: a wrong dimension is 1 on Milvus Lite and 65535 on 2.3.5.
    """
    error_type = library_type(error).__qualname__
    # On an exception of the app, `code` and `message` may be anything.
    if not is_of_library(error):
        return Failure(error_type, None, text_of(error))
    code = getattr(error, "code", None)
    if callable(code):
        code = code()
    message = getattr(error, "message", None)
    if not isinstance(message, str) or not message:
        details = getattr(error, "details", None)
        text = details() if callable(details) else None
        message = text if isinstance(text, str) and text else text_of(error)
    # An IntEnum would print its name.
    shown = str(int(code)) if isinstance(code, int) else getattr(code, "name", None)
    return Failure(error_type, shown, message)


def field_names(handler: Any, arguments: Arguments) -> Iterator[Any]:
    """Names of fields in the schema that a call has, and in the one that pymilvus keeps."""
    for branch in arguments.get("reqs") or ():
        yield getattr(branch, "anns_field", None)
    for part in getattr(arguments.get("schema"), "fields", None) or ():
        yield getattr(part, "name", None)
    for part in (_kept_schema(handler, arguments) or {}).get("fields") or ():
        yield part.get("name")


def _kept_schema(handler: Any, arguments: Arguments) -> Mapping[str, Any] | None:
    """What pymilvus 2.6 and newer keep of a collection that was written to or searched."""
    # pymilvus asks the server once for a collection's schema; asking again would be a request.
    module = sys.modules.get("pymilvus.client.cache")
    if module is None or not hasattr(module, "GlobalCache"):
        return None
    context = arguments.get("context")
    database = context.get_db_name() if context is not None else ""
    schema: Mapping[str, Any] | None = module.GlobalCache.schema.get(
        getattr(handler, "server_address", None), database, arguments.get("collection_name")
    )
    return schema


ERRORS: Final = ClientErrors(describe_error, Path(__file__).parent, _WORDS, field_names)
