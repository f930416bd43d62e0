"""What chromadb returns and raises, read into a call: its results are plain dicts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.chroma import errors, results
from sidelight.instrumentation.vectordb.chroma.description import CHROMA
from sidelight.instrumentation.vectordb.chroma.errors import describe_error
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.failures import Failure
from sidelight.instrumentation.vectordb.core.target import CallTargets

RESULT: dict[str, Any] = {
    "ids": [["a", "b"], []],
    "distances": [[0.25, 0.5], []],
    "documents": [["about queues", "about caches"], []],
    "metadatas": [[{"source": "a.md"}, None], []],
}


def query(policy: Any = "full") -> DatabaseCall:
    """A query of the collection `docs`."""
    call = DatabaseCall(Settings(capture_content=policy), {})
    call.target = CallTargets(CHROMA).get("query", "docs", "tenant/database")
    return call


class TestQueries:
    def test_have_distances_and_documents(self) -> None:
        """Lower is better, and a query without hits is empty."""
        call = query()

        results.queried(call, RESULT)

        assert (call.rows, call.empty_queries) == (2, 1)
        assert call.attributes[names.VECTOR_SCORE_TOP] == 0.25
        assert call.attributes[names.VECTOR_SCORE_DIRECTION] == "lower_is_better"
        documents = json.loads(str(call.attributes[names.RETRIEVAL_DOCUMENTS]))
        assert [document["content"] for document in documents] == ["about queues", "about caches"]
        assert documents[0]["metadata"] == {"source": "a.md"}

    @pytest.mark.parametrize("column", ["distances", "documents", "metadatas"])
    def test_may_lack_columns(self, column: str) -> None:
        """What the app does not include is None; the hits are shown all the same."""
        call = query()

        results.queried(call, {**RESULT, column: None})

        documents = json.loads(str(call.attributes[names.RETRIEVAL_DOCUMENTS]))
        assert [document["id"] for document in documents] == ["a", "b"]
        assert call.attributes[names.VECTOR_EMPTY] is True

    def test_show_no_documents_unless_they_may_leave(self) -> None:
        """Statistics of the scores are not content."""
        call = query("off")

        results.queried(call, RESULT)

        assert names.RETRIEVAL_DOCUMENTS not in call.attributes
        assert call.attributes[names.VECTOR_SCORE_MEAN] == 0.375


class TestErrors:
    def test_have_the_http_status(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Chroma's errors have a method for it, which on an exception of the app may be any."""

        class NotFoundError(Exception):
            def code(self) -> int:
                return 404

        of_the_app = describe_error(NotFoundError("no collection docs"))
        monkeypatch.setattr(errors, "is_of_library", lambda _error: True)
        of_chroma = describe_error(NotFoundError("no collection docs"))

        assert of_the_app == Failure("Exception", None, "no collection docs")
        assert of_chroma == Failure("Exception", "404", "no collection docs")

    def test_of_the_http_library_have_no_code(self) -> None:
        """Where the request never reached a server."""
        failure = describe_error(ConnectionError("refused"))

        assert (failure.error_type, failure.code) == ("ConnectionError", None)
