"""How many vectors an argument holds, and of how many dimensions; no number of them is read."""

from __future__ import annotations

from typing import Any, Final

# A tuple, as making a union anew costs more than the check itself.
_LISTS: Final = (list, tuple)


def count(data: Any) -> int | None:
    """The length of a list, array or sparse matrix of vectors."""
    if isinstance(data, _LISTS):
        return len(data)
    sizes = _sizes(data)
    return sizes[0] if sizes else None


def first_of(data: Any) -> Any:
    """The first vector, text or row of a batch; None of an empty one."""
    if isinstance(data, _LISTS):
        return data[0] if data else None
    sizes = _sizes(data)
    # A row of a sparse matrix is costly to make: its width says as much.
    return _Row(sizes[1]) if len(sizes) == 2 else None


def dimension(vector: Any) -> int | None:
    """Dimensions of one vector; None if it is sparse, a text, or no vector."""
    if isinstance(vector, _LISTS) or type(vector) is _Row:
        return len(vector)
    sizes = _sizes(vector)
    return sizes[-1] if sizes else None


def _sizes(array: Any) -> list[int]:
    """The shape of an array or sparse matrix; empty for anything else."""
    return [int(size) for size in getattr(array, "shape", ())]


class _Row:
    """Stands for a row of a matrix of which only the width is wanted."""

    __slots__ = ("_width",)

    def __init__(self, width: int) -> None:
        self._width = width

    def __len__(self) -> int:
        return self._width
