"""Other operations of Milvus, by every API of its client, against a real Milvus Lite."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from pymilvus import Collection, MilvusClient, connections
from pymilvus.exceptions import ParamError

from sidelight import conventions as names
from support.recording import attributes
from support.vectordb.milvus_lite import DIMENSION, Observe, vector

# The ORM goes on working until pymilvus 3.1, and so do these tests of it.
pytestmark = pytest.mark.filterwarnings("ignore::pymilvus.decorators.PyMilvusDeprecationWarning")


def address(client: MilvusClient) -> str:
    return str(client._get_connection().server_address)


class TestOtherOperations:
    @pytest.mark.parametrize(
        ("span", "call"),
        [
            ("alter_collection_properties missing",
             lambda client: client.alter_collection_properties("missing", {"mmap.enabled": True})),
            ("rename_collections missing",
             lambda client: client.rename_collection("missing", "other")),
            ("create_alias missing", lambda client: client.create_alias("missing", "name")),
            ("describe_alias", lambda client: client.describe_alias("nothing")),
            ("list_aliases missing", lambda client: client.list_aliases("missing", timeout=1)),
            ("compact missing", lambda client: client.compact("missing")),
            ("has_partition missing", lambda client: client.has_partition("missing", "part")),
            ("get_collection_stats missing",
             lambda client: client.get_collection_stats("missing")),
            ("run_analyzer", lambda client: client.run_analyzer("a text", {"tokenizer": "no"})),
            ("flush_all", lambda client: client.flush_all()),
            ("create_user", lambda client: client.create_user("user", "password")),
        ],
    )  # fmt: skip
    def test_have_a_span_if_they_fail(
        self, lite: MilvusClient, observe: Observe, span: str, call: Callable[[MilvusClient], Any]
    ) -> None:
        """Whatever the app asks of the server, an error of it is seen."""
        recording = observe()

        try:
            call(lite)
        except Exception:  # pymilvus passes some on as they are
            (seen,) = recording.spans()
            assert seen.name == span
            assert not seen.status.is_ok
        else:
            # Milvus Lite takes some of them for done.
            assert [seen.name for seen in recording.spans()] in ([], [span])

    def test_count_records_in_any_form(self, lite: MilvusClient, observe: Observe) -> None:
        """A DataFrame by the ORM, rows, and one row, by position or by name."""
        # It comes with pymilvus, without types.
        pandas = import_module("pandas")
        lite.create_collection("forms", dimension=DIMENSION, auto_id=False)
        frame = pandas.DataFrame(
            {"id": [1, 2, 3], "vector": [np.array(vector(i), "float32") for i in range(3)]}
        )
        connections.connect("forms", uri=f"http://{address(lite)}")
        recording = observe()

        Collection("forms", using="forms").insert(frame)
        lite.insert("forms", [{"id": 4, "vector": vector(4)}, {"id": 5, "vector": vector(5)}])
        lite.insert(data={"id": 6, "vector": vector(6)}, collection_name="forms")
        # pymilvus refuses a number of numpy here, but that is what was asked for.
        with pytest.raises(ParamError):
            lite.search("forms", [vector(1)], "", np.int64(2))
        lite.drop_collection("forms")
        connections.disconnect("forms")

        records = [
            (attributes(span)[names.VECTOR_RECORDS], attributes(span).get(names.DB_BATCH_SIZE))
            for span in recording.spans("insert forms")
        ]
        assert records == [(3, 3), (2, 2), (1, None)]
        assert recording.attributes("search forms")[names.RETRIEVAL_TOP_K] == 2

    def test_look_ups_have_none_if_they_succeed(self, lite: MilvusClient, observe: Observe) -> None:
        """Clients and frameworks make them before many other calls."""
        recording = observe()

        assert lite.has_collection("docs")
        assert not lite.has_collection("missing")
        assert "docs" in lite.list_collections()
        assert lite.list_indexes("docs")

        assert recording.spans() == []

    def test_have_one_span_each(self, lite: MilvusClient, observe: Observe) -> None:
        """Administration, writes and queries are siblings: one span per logical operation."""
        recording = observe()

        lite.create_collection("other", dimension=DIMENSION, metric_type="IP")
        lite.insert("other", [{"id": i, "vector": vector(i)} for i in range(10)])
        lite.upsert("other", {"id": 3, "vector": vector(4)})
        lite.query("other", filter="id < 4")
        lite.get("other", ids=[1, 2])
        lite.delete("other", ids=[1, 2, 3])
        lite.flush("other")
        lite.release_collection("other")
        lite.drop_collection("other")

        seen = [
            (span.name, attributes(span).get(names.VECTOR_RECORDS)) for span in recording.spans()
        ]
        assert seen == [
            ("create_collection other", None),
            ("create_index other", None),
            ("load_collection other", None),
            ("insert other", 10),
            ("upsert other", 1),
            ("query other", None),
            ("query other", None),
            ("delete other", 3),
            ("flush other", None),
            ("release_collection other", None),
            ("drop_collection other", None),
        ]
        assert [attributes(s)[names.DB_RETURNED_ROWS] for s in recording.spans("query other")] == [
            4,
            2,
        ]
        assert recording.attributes("insert other")[names.DB_BATCH_SIZE] == 10
        assert sum(point.value for point in recording.points(names.VECTOR_RECORDS_WRITTEN)) == 11
        assert sum(point.value for point in recording.points(names.VECTOR_RECORDS_DELETED)) == 3
        assert all(span.parent is None for span in recording.spans())

    def test_are_seen_through_the_orm_too(self, lite: MilvusClient, observe: Observe) -> None:
        """The ORM's searches and column inserts end in the same operations."""
        recording = observe()
        connections.connect("orm", address=address(lite))
        try:
            docs = Collection("docs", using="orm")
            docs.search([vector(1)], "vector", {"metric_type": "COSINE"}, limit=4)
            docs.query("id < 3")
        finally:
            connections.disconnect("orm")

        assert [span.name for span in recording.spans()] == ["search docs", "query docs"]
        assert recording.attributes("search docs")[names.DB_RETURNED_ROWS] == 4

    @pytest.mark.parametrize(
        ("name", "open_iterator", "rows", "pages"),
        [
            (
                "search_iterator docs",
                lambda lite: lite.search_iterator("docs", [vector(1)], batch_size=10, limit=25),
                25,
                3,
            ),
            (
                "query_iterator docs",
                lambda lite: lite.query_iterator("docs", batch_size=20, filter="id < 45"),
                45,
                3,
            ),
        ],
    )
    def test_iterators_are_one_span_with_their_pages_as_events(
        self,
        lite: MilvusClient,
        observe: Observe,
        name: str,
        open_iterator: Callable[[MilvusClient], Any],
        rows: int,
        pages: int,
    ) -> None:
        """An iterator is one span and one entry in the metrics, however many pages it takes."""
        recording = observe()

        iterator = open_iterator(lite)
        fetched = 0
        while page := iterator.next():
            fetched += len(page)
        iterator.close()

        (span,) = recording.spans()
        assert fetched == rows
        assert span.name == name
        assert attributes(span)[names.DB_RETURNED_ROWS] == rows
        assert attributes(span)[names.VECTOR_PAGES] == pages
        assert sum(attributes(event)[names.DB_RETURNED_ROWS] for event in span.events) == rows
        durations = recording.points(names.DB_CLIENT_DURATION)
        assert [point.count for point in durations] == [1]
        assert trace.get_current_span() is trace.INVALID_SPAN

    def test_an_iterator_that_is_dropped_still_ends(
        self, lite: MilvusClient, observe: Observe
    ) -> None:
        """Leaving an iterator halfway ends its span with the pages it had."""
        recording = observe()

        iterator = lite.query_iterator("docs", batch_size=20)
        iterator.next()
        del iterator

        found = recording.attributes("query_iterator docs")
        assert found[names.DB_RETURNED_ROWS] == 20
