"""Documents and scores of a retrieval, reduced to attributes within their caps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core.documents import (
    TRUNCATED_MAX_BYTES,
    Document,
    documents_json,
    ids_json,
)

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

    @pytest.mark.parametrize(
        ("fields", "content"),
        [
            ({"_node_content": json.dumps({"text": "a chunk", "metadata": {}})}, "a chunk"),
            ({"_node_content": json.dumps({"text_resource": {"text": "a chunk"}})}, "a chunk"),
            ({"_node_content": json.dumps({"text": ""}), "text": "a chunk"}, "a chunk"),
            ({"_node_content": '{"text": "a chu'}, '{"text": "a chu'),
            ({"_node_content": '"text"'}, '"text"'),
            ({"_node_content": 7, "document": "a chunk"}, "a chunk"),
        ],
    )
    def test_of_llama_index_are_the_text_of_their_node(
        self, fields: dict[str, Any], content: str
    ) -> None:
        """Not the JSON that the whole node is kept as."""
        text, _ = documents_json([Document("1", 0.5, {**fields, "source": "a.md"})], FULL)

        (shown,) = json.loads(text)
        assert shown["content"] == content
        assert shown["metadata"] == {"source": "a.md"}

    def test_are_read_only_as_far_as_they_are_kept(self) -> None:
        """A thousand documents cost no more than the twenty that are shown."""
        read = 0

        def documents() -> Iterator[Document]:
            nonlocal read
            for read in range(1, 1_000):
                yield Document(read, 0.5)

        text, cut = documents_json(documents(), FULL)

        assert cut
        assert len(json.loads(text)) == 20
        assert read == 21


_id = st.integers() | st.text() | st.text(min_size=250, max_size=260) | st.uuids()


class TestIds:
    @given(
        st.lists(st.integers()) | st.lists(st.text()) | st.lists(_id),
        st.none() | st.lists(st.floats() | st.integers(-5, 5) | st.none(), min_size=20),
        st.integers(2, 600),
        st.integers(0, 20),
    )
    def test_are_what_documents_without_content_are(
        self, ids: list[object], scores: list[float | None] | None, size: int, count: int
    ) -> None:
        """One format for all hits gives what writing each hit gives, within the same caps."""
        settings = Settings(capture_content="ids", max_bytes=size, max_documents=count)
        known = scores or []

        text, cut = ids_json(ids, scores and (known * len(ids))[: len(ids)], settings)
        found = json.loads(text, parse_constant=pytest.fail)

        shown = [
            (str(each)[:256], (known * len(ids))[place] if known else None)
            for place, each in enumerate(ids)
        ]
        assert len(text) <= size
        assert len(found) <= count
        assert cut == (len(found) < len(ids))
        assert [item["id"] for item in found] == [each[0] for each in shown[: len(found)]]
        for item, (_, score) in zip(found, shown, strict=False):
            finite = score is not None and isfinite(score)
            assert item["score"] == pytest.approx(score if finite else 0.0, rel=1e-5)

    def test_of_all_kinds_are_texts_and_numbers(self) -> None:
        """Integers, texts with what JSON escapes, and a mixture: Phoenix gets texts and numbers."""
        scores = [0.25, 1]

        assert (
            ids_json([7, -8], scores, IDS)[0] == '[{"id":"7","score":0.25},{"id":"-8","score":1}]'
        )
        assert json.loads(ids_json(['"a"\n', "ü"], scores, IDS)[0]) == [
            {"id": '"a"\n', "score": 0.25},
            {"id": "ü", "score": 1},
        ]
        assert json.loads(ids_json([7, "b"], scores, IDS)[0])[1]["id"] == "b"
        assert json.loads(ids_json([True, 2], scores, IDS)[0])[0]["id"] == "True"
