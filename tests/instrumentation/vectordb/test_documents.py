"""Documents and scores of a retrieval, reduced to attributes within their caps."""

from __future__ import annotations

import json
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.documents import (
    TRUNCATED_MAX_BYTES,
    Document,
    documents_json,
    ids_json,
)
from sidelight.instrumentation.vectordb.scores import Scores, direction

FULL = Settings(capture_content="full")
TRUNCATED = Settings(capture_content="truncated")
IDS = Settings(capture_content="ids")

_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_fields = st.dictionaries(st.text(max_size=8), _scalars | st.lists(st.floats(), max_size=3))
_documents = st.builds(
    Document,
    st.integers() | st.text() | st.uuids(),
    st.none() | st.floats(),
    _fields,
    st.none() | st.text(),
)


class TestDocuments:
    @given(
        st.lists(_documents, max_size=8),
        st.sampled_from(["truncated", "full"]),
        st.integers(0, 400),
        st.integers(0, 2_000),
        st.integers(0, 6),
    )
    def test_are_valid_json_within_every_cap(
        self, documents: list[Document], policy: Any, characters: int, size: int, count: int
    ) -> None:
        """Whatever the documents hold, the attribute is JSON, in order, and within its caps."""
        settings = Settings(
            capture_content=policy,
            max_characters=characters,
            max_bytes=size,
            max_documents=count,
        )

        text, cut = documents_json(documents, settings)
        found = json.loads(text, parse_constant=pytest.fail)

        assert len(text.encode()) <= max(size, 2)
        assert len(found) <= count
        # Phoenix drops the whole list over one item whose id is no text or score no number.
        assert all(isinstance(item["id"], str) for item in found)
        assert all(isinstance(item["score"], int | float) for item in found)
        assert [str(item["id"]) for item in found] == [
            str(document.id)[:256] for document in documents[: len(found)]
        ]
        assert cut or len(found) == len(documents)
        if policy == "truncated":
            assert all(len(item.get("content", "")) <= characters for item in found)

    def test_keep_text_by_the_names_frameworks_use(self) -> None:
        """The text of a chunk is its content, the other scalars are its metadata."""
        document = Document(7, 0.5, {"page_content": "words", "page": 3, "title": "a longer title"})

        text, _ = documents_json([document], FULL)

        assert json.loads(text) == [
            {
                "id": "7",
                "score": 0.5,
                "content": "words",
                "metadata": {"page": 3, "title": "a longer title"},
            }
        ]

    def test_take_the_longest_text_where_no_name_is_known(self) -> None:
        """A field of any name can hold the text: the longest one is taken for it."""
        document = Document("a", 1.0, {"kind": "x", "abstract": "a longer text"})

        (found,) = json.loads(documents_json([document], FULL)[0])

        assert found["content"] == "a longer text"
        assert found["metadata"] == {"kind": "x"}

    def test_never_hold_vectors(self) -> None:
        """Lists and arrays may be embeddings and are left out; numpy scalars are kept."""
        fields = {"dense": [0.1] * 4, "array": numpy.ones(4), "price": numpy.float32(2.5)}

        (found,) = json.loads(documents_json([Document(1, 0.1, fields)], FULL)[0])

        assert found["metadata"] == {"price": 2.5}

    def test_shorten_metadata_by_whole_keys(self) -> None:
        """A key that does not fit is dropped; what is left is valid JSON and says so."""
        document = Document(1, 0.1, {"small": 1, "large": "x" * 5_000, "last": 2}, "text")

        text, cut = documents_json([document], TRUNCATED)

        assert cut
        assert json.loads(text)[0]["metadata"] == {"small": 1, "last": 2}

    def test_stay_small_under_truncated(self) -> None:
        """Twenty long documents do not make a span that backends refuse."""
        documents = [Document(i, 0.5, {}, "ü" * 5_000) for i in range(20)]

        text, cut = documents_json(documents, TRUNCATED)

        assert cut
        assert len(text) <= TRUNCATED_MAX_BYTES

    def test_are_read_only_as_far_as_they_are_kept(self) -> None:
        """A thousand hits cost no more than the twenty that are shown."""
        read = 0

        def hits() -> Any:
            nonlocal read
            for read in range(1, 1_000):
                yield read, 0.5

        text, cut = ids_json(hits(), IDS)

        assert cut
        assert len(json.loads(text)) == 20
        assert read == 21


class TestScores:
    def test_of_hits_are_reduced_to_four_figures(self) -> None:
        """Best, last, mean, and the gap between the best two, never negative."""
        distances = Scores([0.25, 0.5, 1.5])

        assert (distances.top, distances.last, distances.mean) == (0.25, 1.5, 0.75)
        assert distances.gap == 0.25
        assert Scores([0.9]).gap is None

    @pytest.mark.parametrize(
        ("metric", "scores", "way"),
        [
            ("COSINE", [0.9, 0.8], "higher_is_better"),
            ("IP", [], "higher_is_better"),
            ("MAX_SIM_COSINE", [], "higher_is_better"),
            ("Dot", [], "higher_is_better"),
            ("L2", [0.1, 0.2], "lower_is_better"),
            ("Euclid", [], "lower_is_better"),
            (None, [0.9, 0.8], "higher_is_better"),
            (None, [0.8, 0.9], "lower_is_better"),
            ("NEW", [0.8, 0.9], "lower_is_better"),
            (None, [0.8, 0.8], None),
            (None, [0.8], None),
        ],
    )
    def test_have_a_direction(
        self, metric: str | None, scores: list[float], way: str | None
    ) -> None:
        """The metric's name tells which way is better, or else the order of the hits does."""
        assert direction(metric, scores) == way
