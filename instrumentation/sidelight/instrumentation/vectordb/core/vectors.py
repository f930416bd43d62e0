"""How many queries an argument holds, and of how many dimensions; no number of them is read.

Clients take a query in many forms: lists, arrays of any library, sparse matrices, texts, bytes. Two
forms look alike but differ: a 1-D array is one vector, a list of texts is several queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

# A tuple, as making a union anew costs more than the check itself.
_LISTS: Final = (list, tuple)
_NUMBERS: Final = (float, int)
_BYTES: Final = (bytes, bytearray)
# Kinds of numpy's dtypes whose items are whole queries: objects, texts, bytes.
_ITEMS: Final = frozenset("OSTU")
# And those of whole numbers.
_WHOLE: Final = frozenset("iu")


class Queries(NamedTuple):
    """What a client was asked to search for; None is what cannot be told."""

    number: int | None
    dimension: int | None = None
    text: str | None = None
    """The first query, where it is a text."""


_UNKNOWN: Final = Queries(None)


def queries_in(data: Any, *, bits: bool = False) -> Queries:
    """The queries in an argument that may be one query or several of them.

    With `bits`, a byte holds eight dimensions, as in Milvus's binary vectors. Without, the
    dimension of bytes is not known: they may hold half-precision numbers.
    """
    if isinstance(data, str):
        return Queries(1, None, data)
    if isinstance(data, _LISTS):
        return _listed(data, bits)
    sizes = _sizes(data)
    if sizes is None:
        return _of_other(data, bits)
    if len(sizes) > 1:
        return Queries(sizes[0], _width(data, sizes, bits))
    if sizes and getattr(getattr(data, "dtype", None), "kind", None) in _ITEMS:
        return _listed(list(data[:1]), bits)._replace(number=sizes[0])
    return Queries(1, _width(data, sizes, bits))


def dimension(vector: Any, *, bits: bool = False) -> int | None:
    """Dimensions of one vector or of the first of a multi-vector.

    None if it is sparse, a text, an id, or no vector.
    """
    if isinstance(vector, _LISTS):
        if not vector or isinstance(vector[0], _NUMBERS):
            return len(vector) or None
        inner = vector[0]
        # A sparse vector may be pairs of a position and a value.
        return None if _is_pair(inner) else dimension(inner, bits=bits) or _scalars(vector)
    if isinstance(vector, _BYTES):
        return len(vector) * 8 if bits else None
    sizes = _sizes(vector)
    if sizes is not None:
        return _width(vector, sizes, bits)
    if isinstance(vector, str | Mapping):
        return None
    return _length(vector)


def length(items: Any) -> int | None:
    """How many items there are, if that can be told without going through them.

    None for one text, one mapping, an iterator, and what has no length.
    """
    if isinstance(items, _LISTS):
        return len(items)
    sizes = _sizes(items)
    if sizes is not None:
        return sizes[0] if sizes else None
    return None if isinstance(items, (str, Mapping, *_BYTES)) else _length(items)


def _listed(queries: list[Any] | tuple[Any, ...], bits: bool) -> Queries:
    if not queries:
        return Queries(0)
    first = queries[0]
    if isinstance(first, _LISTS):
        return Queries(len(queries), dimension(first, bits=bits))
    # Before numbers, as numpy's texts are numpy's scalars too.
    if isinstance(first, str):
        return Queries(len(queries), None, first)
    if isinstance(first, _NUMBERS) or _sizes(first) == ():
        return Queries(1, len(queries))
    return Queries(len(queries), dimension(first, bits=bits))


def _of_other(data: Any, bits: bool) -> Queries:
    """Of what is neither a list, nor a text, nor has a shape."""
    if data is None or isinstance(data, Iterator):
        return _UNKNOWN
    if isinstance(data, (Mapping, *_BYTES)):
        return Queries(1, dimension(data, bits=bits))
    size = _length(data)
    if size is None:
        return _UNKNOWN
    # An `array.array` is one vector; other collections hold several, whose items cannot be seen
    # without going through them.
    return Queries(1, size) if hasattr(data, "typecode") else Queries(size)


def _width(array: Any, sizes: tuple[int, ...], bits: bool) -> int | None:
    """Dimensions of the vectors in an array; None of a sparse one, which counts its entries."""
    if not sizes or hasattr(array, "nnz"):
        return None
    is_packed = bits and str(getattr(array, "dtype", "")) == "uint8"
    return sizes[-1] * 8 if is_packed else sizes[-1]


def _is_pair(item: Any) -> bool:
    # Of a position, which is a whole number, and a value. A multi-vector of two dimensions may
    # look like this too: then its dimension is left out.
    return (
        isinstance(item, _LISTS)
        and len(item) == 2
        and (
            type(item[0]) is int or getattr(getattr(item[0], "dtype", None), "kind", None) in _WHOLE
        )
        and type(item[1]) is not int
    )


def _scalars(vector: Any) -> int | None:
    """The length of a list of a library's own numbers."""
    return len(vector) if _sizes(vector[0]) == () else None


def _length(items: Any) -> int | None:
    try:
        return len(items)
    except TypeError:
        return None


def _sizes(array: Any) -> tuple[int, ...] | None:
    """The shape of an array or sparse matrix; None of anything else."""
    shape = getattr(array, "shape", None)
    try:
        return None if shape is None else tuple(int(size) for size in shape)
    except (TypeError, ValueError):
        return None
