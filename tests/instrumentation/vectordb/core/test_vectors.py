"""Queries in every form that a client takes."""

from __future__ import annotations

from array import array
from collections import deque
from enum import Enum
from typing import Any

import numpy as np
import pytest

from sidelight.instrumentation.vectordb.core.values import Plain, plain
from sidelight.instrumentation.vectordb.core.vectors import (
    Queries,
    dimension,
    length,
    queries_in,
)

DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64")


class Tensor:
    """As torch, jax and tensorflow have it: a shape and `__array__`, and no list."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __array__(self) -> Any:
        raise AssertionError("its numbers are read")


class Sparse(Tensor):
    """As scipy has it."""

    nnz = 3


class TestQueries:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_in_an_array_are_its_rows_or_one(self, dtype: str) -> None:
        """A 1-D array is what encoding one text returns, a 2-D one of several texts."""
        assert queries_in(np.zeros(384, dtype)) == Queries(1, 384)
        assert queries_in(np.zeros((3, 384), dtype)) == Queries(3, 384)
        assert queries_in([np.zeros(384, dtype)] * 3) == Queries(3, 384)
        assert queries_in(list(np.zeros(384, dtype))) == Queries(1, 384)

    @pytest.mark.parametrize(
        ("data", "queries"),
        [
            ([0.5, 1.0, 1.5], Queries(1, 3)),
            ((0, 1, 2), Queries(1, 3)),
            ([[0.5, 1.0]], Queries(1, 2)),
            (([0.5, 1.0], [0.5, 1.0]), Queries(2, 2)),
            ([(0.5, 1.0), (0.5, 1.0)], Queries(2, 2)),
            ([], Queries(0)),
            (None, Queries(None)),
            (Tensor(384), Queries(1, 384)),
            (Tensor(3, 384), Queries(3, 384)),
            ([Tensor(384), Tensor(384)], Queries(2, 384)),
            (Tensor(), Queries(1)),
            (array("f", [0.5] * 8), Queries(1, 8)),
            ([array("f", [0.5] * 8)] * 2, Queries(2, 8)),
            (deque([[0.5], [0.5]]), Queries(2)),
            ((row for row in [[0.5]]), Queries(None)),
            (object(), Queries(None)),
        ],
    )
    def test_are_counted_by_their_form(self, data: Any, queries: Queries) -> None:
        """Lists, tuples, arrays of other libraries; what cannot be told is not guessed."""
        assert queries_in(data) == queries

    @pytest.mark.parametrize(
        "data",
        [
            [{1: 0.5, 7: 0.25}, {3: 1.0}],
            [[(1, 0.5), (7, 0.25), (9, 0.125)], [(3, 1.0)]],
            [[[1, 0.5], [7, 0.25]], [[3, 1.0]]],
            [[(np.int64(1), np.float32(0.5))], [(np.int64(3), np.float32(1.0))]],
            Sparse(2, 30_000),
            [Sparse(1, 30_000), Sparse(1, 30_000)],
        ],
    )
    def test_that_are_sparse_have_no_dimension(self, data: Any) -> None:
        """Neither the number of their entries nor the width of a matrix is one."""
        assert queries_in(data) == Queries(2)

    @pytest.mark.parametrize(
        ("data", "queries"),
        [
            ("why?", Queries(1, None, "why?")),
            (["why?", "how?"], Queries(2, None, "why?")),
            (np.array(["why?", "how?"]), Queries(2, None, "why?")),
            (np.array(["why?", "how?"], dtype=object), Queries(2, None, "why?")),
        ],
    )
    def test_may_be_texts(self, data: Any, queries: Queries) -> None:
        """Of which the first is shown, if text may leave."""
        assert queries_in(data) == queries

    def test_in_bytes_have_the_dimensions_of_their_bits(self) -> None:
        """If they are known to be binary: half-precision numbers come in bytes too."""
        packed = np.zeros(16, "uint8")

        assert queries_in([bytes(16), bytes(16)], bits=True) == Queries(2, 128)
        assert queries_in([packed], bits=True) == queries_in(packed, bits=True) == Queries(1, 128)
        assert queries_in([bytes(16), bytes(16)]) == Queries(2)
        assert queries_in(bytearray(16)) == Queries(1)


@pytest.mark.parametrize(
    ("vector", "size"),
    [
        ([0.5, 1.0], 2),
        (np.zeros(3), 3),
        (np.zeros((2, 3)), 3),
        ([[0.5, 1.0, 1.5], [0.5, 1.0, 1.5]], 3),
        ([np.zeros(3), np.zeros(3)], 3),
        ({"indices": [1], "values": [0.5]}, None),
        ("0f3e", None),
        (7, None),
        ([], None),
    ],
)
def test_dimension_is_that_of_one_vector_of_the_query(vector: Any, size: int | None) -> None:
    """A multi-vector has that of its parts; an id of a point has none."""
    assert dimension(vector) == size


@pytest.mark.parametrize(
    ("items", "number"),
    [
        (["1", "2"], 2),
        (("1", "2"), 2),
        ({"1", "2"}, 2),
        (np.zeros((4, 2)), 4),
        ("12", None),
        ({"1": 2}, None),
        (iter(["1"]), None),
        (None, None),
    ],
)
def test_length_is_that_of_several_items(items: Any, number: int | None) -> None:
    """Nothing is gone through: an iterator would be used up."""
    assert length(items) == number


class _Name(str, Enum):  # noqa: UP042 (its `str()` is not its value)
    DOCS = "docs"


class _Bare(Enum):
    DOCS = "docs"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array(5), 5),
        (np.str_("docs"), "docs"),
        (_Name.DOCS, "docs"),
        (_Bare.DOCS, "docs"),
        (True, True),
        (float("nan"), None),
        (np.float64("inf"), None),
        (b"docs", None),
        ([5], None),
        (Tensor(), None),
    ],
)
def test_values_of_other_libraries_become_plain(value: Any, kept: Plain | None) -> None:
    """As telemetry takes them, and of exactly the plain types."""
    shown = plain(value)

    assert shown == kept
    assert type(shown) is type(kept)
