"""Retrieval health: each search once, scores of one kind together, labels bounded, exemplars."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.samples import Sample

from sidelight import conventions as names
from sidelight.collector.metrics.config import Retrieval as Options
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.retrieval.metrics import MAX_SCORE_SERIES, RetrievalMetrics
from sidelight.otlp.span import SpanRecord
from support import openmetrics
from support.measured_spans import search, span

SEARCHES = names.prometheus_name(names.RETRIEVAL_SEARCHES)
RECORDS = names.prometheus_name(names.RETRIEVAL_RECORDS)
DURATION = names.prometheus_name(names.RETRIEVAL_DURATION)
TOP = names.prometheus_name(names.RETRIEVAL_TOP_SCORE)
GAP = names.prometheus_name(names.RETRIEVAL_SCORE_GAP)
DRIFT = names.prometheus_name(names.RETRIEVAL_DRIFT)
POOR = names.prometheus_name(names.RETRIEVAL_POOR)
OWN, FOREIGN = names.SCOPE_VECTORDB, "opentelemetry.instrumentation.milvus"


class Measured:
    """`RetrievalMetrics` with its registry and a clock moved by hand."""

    def __init__(self, **options: Any) -> None:
        self.registry = Registry()
        self.now = 0.0
        self.retrieval = RetrievalMetrics(self.registry, Options(**options), clock=lambda: self.now)

    def observe(self, *spans: SpanRecord, scope: str = OWN) -> None:
        self.retrieval.observe([(scope, each) for each in spans])

    def samples(self, name: str) -> list[Sample]:
        return openmetrics.samples(name, self.registry)

    def total(self, name: str, **labels: str) -> float:
        return sum(
            each.value for each in self.samples(name) if labels.items() <= each.labels.items()
        )

    def outcomes(self) -> dict[str, float]:
        """Searches by outcome."""
        found: dict[str, float] = {}
        for each in self.samples(f"{SEARCHES}_total"):
            outcome = each.labels["outcome"]
            found[outcome] = found.get(outcome, 0) + each.value
        return found


class TestCounts:
    def test_a_search_is_seen_in_every_figure(self) -> None:
        """Outcome, records, duration, top score and gap, by database, namespace and collection."""
        measured = Measured()
        measured.observe(span(search(0.8), seconds=0.02))
        where = {
            "db_system_name": "milvus",
            "db_namespace": "default",
            "db_collection_name": "docs",
        }
        scored = where | {"scale": "COSINE", "db_vector_score_direction": "higher_is_better"}
        for name, labels, value in (
            (f"{SEARCHES}_total", where | {"outcome": "found"}, 1),
            (f"{RECORDS}_total", where | {"action": "returned"}, 10),
            (f"{DURATION}_sum", where, 0.02),
            (f"{TOP}_sum", scored, 0.8),
            (f"{GAP}_sum", scored, 0.05),
        ):
            (sample,) = measured.samples(name)
            assert (sample.labels, sample.value) == (labels, value)

    def test_every_figure_leads_to_the_trace(self) -> None:
        """Counters and histograms alike name the trace and span that they last counted."""
        measured = Measured()
        seen = span(search())
        measured.observe(seen)
        for name in (f"{SEARCHES}_total", f"{RECORDS}_total"):
            (sample,) = measured.samples(name)
            assert sample.exemplar is not None
            assert sample.exemplar.labels["trace_id"] == seen.trace_id.hex()
        for name in (DURATION, TOP, GAP):
            marks = [each.exemplar for each in measured.samples(f"{name}_bucket") if each.exemplar]
            assert [mark.labels["span_id"] for mark in marks] == [seen.span_id.hex()]

    def test_outcomes_add_up_to_the_queries(self) -> None:
        """Found, empty and failed queries; those of a batch each count."""
        measured = Measured()
        measured.observe(
            span(search()),
            span(search(None, VECTOR_EMPTY=True, DB_RETURNED_ROWS=0)),
            span(search(VECTOR_QUERY_COUNT=8, VECTOR_EMPTY=True, VECTOR_EMPTY_QUERIES=3)),
            span(search(None, VECTOR_QUERY_COUNT=4, VECTOR_EMPTY=True, DB_RETURNED_ROWS=0)),
            span(search(None, VECTOR_EMPTY=None, DB_RETURNED_ROWS=None), is_error=True),
        )
        assert measured.outcomes() == {"found": 6, "empty": 8, "error": 1}

    def test_a_batch_adds_its_means_once(self) -> None:
        """Its scores are means, which are no scores of so many searches."""
        measured = Measured()
        measured.observe(span(search(VECTOR_QUERY_COUNT=8)))
        assert measured.total(f"{TOP}_count") == 1

    def test_an_iterator_is_one_search(self) -> None:
        """However many pages it has; its pages are events. Without a hit it is empty."""
        measured = Measured()
        iterator = {
            "DB_OPERATION": "search_iterator",
            "VECTOR_EMPTY": None,
            "VECTOR_QUERY_COUNT": None,
        }
        measured.observe(
            span(search(None, **iterator, DB_RETURNED_ROWS=25) | {names.VECTOR_PAGES: 3}),
            span(search(None, **iterator, DB_RETURNED_ROWS=0) | {names.VECTOR_PAGES: 0}),
        )
        assert measured.outcomes() == {"found": 1, "empty": 1}
        assert measured.total(f"{RECORDS}_total", action="returned") == 25

    def test_milvus_calls_its_unnamed_database_default(self) -> None:
        """Only some of its client's APIs name it; the collection is the same."""
        measured = Measured()
        measured.observe(span(search()), span(search(DB_NAMESPACE=None)))
        (sample,) = measured.samples(f"{SEARCHES}_total")
        assert (sample.labels["db_namespace"], sample.value) == ("default", 2)

    def test_writes_count_their_records(self) -> None:
        """As the database counted them; a write that failed stored none."""
        measured = Measured()
        for operation, records in (("insert", 200), ("upsert", 5), ("delete", 3)):
            attributes = {
                names.DB_SYSTEM: "milvus",
                names.DB_OPERATION: operation,
                names.VECTOR_RECORDS: records,
            }
            measured.observe(span(attributes))
            measured.observe(span(attributes, is_error=True))
        assert measured.total(f"{RECORDS}_total", action="written") == 205
        assert measured.total(f"{RECORDS}_total", action="deleted") == 3
        assert measured.outcomes() == {}

    @pytest.mark.parametrize(
        "attributes",
        [
            {names.DB_SYSTEM: "milvus", names.DB_OPERATION: "create_collection"},
            # A foreign name of a read by filter, which normalising takes for a retrieval.
            search(None, DB_OPERATION="query", VECTOR_EMPTY=None),
            # LangChain's own span, above the database's.
            {names.OPERATION: "retrieval", names.SPAN_KIND: "RETRIEVER"},
            {names.DB_SYSTEM: "postgresql", names.DB_OPERATION: "SELECT"},
        ],
    )
    def test_other_spans_are_no_searches(self, attributes: dict[str, Any]) -> None:
        """Neither administration, nor reads by filter, nor frameworks, nor other databases."""
        measured = Measured()
        measured.observe(span(attributes))
        assert measured.outcomes() == {}

    def test_a_search_below_a_frameworks_retriever_counts(self) -> None:
        """There it is no RETRIEVER span itself, which is a matter of display."""
        measured = Measured()
        measured.observe(span(search(OPERATION=None, DB_OPERATION="recommend")))
        failed = search(None, OPERATION=None, VECTOR_EMPTY=None)
        measured.observe(span(failed, is_error=True))
        assert measured.outcomes() == {"found": 1, "error": 1}


class TestOnce:
    def test_a_branch_is_part_of_the_search_around_it(self) -> None:
        """Together or one after the other, whichever comes first."""
        for is_apart in (False, True):
            measured = Measured()
            outer = span(search(DB_OPERATION="hybrid_search"))
            inner = [span(search(), parent=outer) for _ in range(3)]
            if is_apart:
                measured.observe(outer)
                measured.observe(*inner)
            else:
                measured.observe(*inner, outer)
            assert measured.outcomes() == {"found": 1}

    def test_the_search_around_one_that_counted_does_not_count_again(self) -> None:
        """A span ends after those in it, and may come with a later batch."""
        measured = Measured()
        outer = span(search(None, VECTOR_EMPTY=None))
        measured.observe(span(search(), parent=outer))
        measured.observe(outer, scope=FOREIGN)
        assert measured.outcomes() == {"found": 1}

    def test_of_two_instrumentations_ours_counts(self) -> None:
        """It knows the scores, whichever of both is around the other."""
        for own_is_outer in (True, False):
            measured = Measured()
            plain = search(None, VECTOR_EMPTY=None, DB_RETURNED_ROWS=None)
            outer = span(search() if own_is_outer else plain)
            inner = span(plain if own_is_outer else search(), parent=outer)
            scopes = (OWN, FOREIGN) if own_is_outer else (FOREIGN, OWN)
            measured.retrieval.observe(list(zip(scopes, (outer, inner), strict=True)))
            assert measured.outcomes() == {"found": 1}
            assert measured.total(f"{TOP}_count") == 1

    def test_a_span_that_is_sent_again_counts_once(self) -> None:
        """Its sender did not hear that it had arrived."""
        measured = Measured()
        again = span(search())
        for _ in range(3):
            measured.observe(again)
        assert measured.outcomes() == {"found": 1}

    def test_searches_beside_each_other_all_count(self) -> None:
        """Under one span of the application, also in another database below."""
        measured = Measured()
        asked = span({})
        searches = [span(search(), parent=asked) for _ in range(3)]
        measured.observe(*searches)
        measured.observe(span(search(DB_SYSTEM="qdrant", DB_OPERATION="x"), parent=searches[0]))
        assert measured.outcomes() == {"found": 4}


class TestScores:
    def test_scores_of_different_kinds_never_mix(self) -> None:
        """By metric type, ranker and direction; the ranker is the scale where there is one."""
        measured = Measured()
        measured.observe(
            span(search(0.8)),
            span(search(0.03, VECTOR_RANKER="rrf", VECTOR_METRIC_TYPE=None)),
            span(search(7.5, VECTOR_METRIC_TYPE="l2", VECTOR_SCORE_DIRECTION="lower_is_better")),
            span(search(0.5, VECTOR_METRIC_TYPE=None, VECTOR_SCORE_DIRECTION=None)),
        )
        assert {
            (each.labels.get("scale"), each.labels.get("db_vector_score_direction")): each.value
            for each in measured.samples(f"{TOP}_sum")
        } == {
            ("COSINE", "higher_is_better"): 0.8,
            ("rrf", "higher_is_better"): 0.03,
            ("L2", "lower_is_better"): 7.5,
            (None, None): 0.5,
        }

    def test_drift_is_shown_once_it_is_known(self) -> None:
        """And the searches that are worse than the baseline lead to their traces."""
        measured = Measured()
        for step in range(2000):
            measured.now = 10.0 * step
            measured.observe(span(search(0.75 + step % 100 / 1000)))
        (before,) = measured.samples(DRIFT)
        assert before.value < 0.1
        assert before.labels["scale"] == "COSINE"
        poor_before = measured.total(f"{POOR}_total")
        for step in range(2000, 2400):
            measured.now = 10.0 * step
            measured.observe(span(search(0.6)))
        (after,) = measured.samples(DRIFT)
        assert after.value > 0.25
        (poor,) = measured.samples(f"{POOR}_total")
        assert poor.value - poor_before == 400
        assert poor.exemplar is not None
        measured.now += 100_000
        assert measured.samples(DRIFT) == []

    def test_after_a_restart_drift_is_unknown(self) -> None:
        """A gap says so, and no zero that looks like peace."""
        measured = Measured()
        measured.observe(span(search()))
        assert measured.samples(DRIFT) == []
        assert measured.total(f"{POOR}_total") == 0

    @pytest.mark.parametrize("odd", [float("nan"), float("inf"), "0.8", True, [0.8], 1e300])
    def test_odd_scores_are_passed_over(self, odd: object) -> None:
        """The search counts all the same."""
        measured = Measured()
        measured.observe(span(search() | {names.VECTOR_SCORE_TOP: odd}))
        assert measured.outcomes() == {"found": 1}
        assert measured.samples(f"{TOP}_count") == []

    def test_negative_scores_count_as_zero(self) -> None:
        """A histogram's sum must not go down; the drift takes them as they are."""
        measured = Measured()
        measured.observe(span(search(-0.4)))
        assert [each.value for each in measured.samples(f"{TOP}_sum")] == [0]

    def test_a_negative_gap_is_passed_over(self) -> None:
        """It is no distance between two scores, and a histogram's sum must not go down."""
        measured = Measured()
        measured.observe(span(search(VECTOR_SCORE_GAP=-0.5)))
        assert measured.total(f"{GAP}_count") == 0
        assert measured.total(f"{TOP}_count") == 1


class TestForeign:
    def test_documents_tell_scores_and_rows(self) -> None:
        """Where another instrumentation gives no figures, its documents do, best first."""
        measured = Measured()
        plain = search(
            None,
            VECTOR_EMPTY=None,
            DB_RETURNED_ROWS=None,
            VECTOR_METRIC_TYPE=None,
            VECTOR_SCORE_DIRECTION=None,
            RETRIEVAL_DOCUMENTS=json.dumps([{"id": i, "score": 0.1 + 0.2 * i} for i in range(3)]),
        )
        measured.observe(span(plain), scope=FOREIGN)
        assert measured.outcomes() == {"found": 1}
        assert measured.total(f"{RECORDS}_total") == 3
        (top,) = measured.samples(f"{TOP}_sum")
        assert (top.value, top.labels["db_vector_score_direction"]) == (0.1, "lower_is_better")
        assert measured.total(f"{GAP}_sum") == pytest.approx(0.2)

    @pytest.mark.parametrize("documents", [None, "no JSON", "{}", "[" * 100_000, "[" * 50_000, "7"])
    def test_what_is_not_told_is_unknown(self, documents: str | None) -> None:
        """Neither found nor empty, so that it does not weigh on the share of empty searches."""
        measured = Measured()
        told = search(None, VECTOR_EMPTY=None, DB_RETURNED_ROWS=None, RETRIEVAL_DOCUMENTS=documents)
        measured.observe(span(told), scope=FOREIGN)
        assert measured.outcomes() == {"unknown": 1}

    def test_a_score_beyond_all_floats_is_passed_over(self) -> None:
        """What else came in the same request is measured all the same."""
        measured = Measured()
        told = search(
            None,
            VECTOR_EMPTY=None,
            DB_RETURNED_ROWS=None,
            RETRIEVAL_DOCUMENTS=f'[{{"score": 1{"0" * 400}}}]',
        )
        measured.observe(span(told), span(search()), scope=FOREIGN)
        assert measured.outcomes() == {"found": 2}
        assert measured.total(f"{TOP}_count") == 1


class TestBounds:
    def test_collections_are_bounded(self) -> None:
        """However many come, all are counted, and the later ones under `other`."""
        measured = Measured(max_collections=10)
        for number in range(1000):
            measured.observe(
                span(search(DB_COLLECTION=f"c{number}", VECTOR_METRIC_TYPE=f"M{number}"))
            )
            measured.observe(span(search(DB_SYSTEM=f"s{number}", DB_NAMESPACE=f"n{number}")))
        assert measured.total(f"{SEARCHES}_total") == 2000
        assert len(measured.samples(f"{SEARCHES}_total")) <= 10 + 20
        assert measured.total(f"{SEARCHES}_total", db_collection_name="other") >= 1980
        assert len(measured.samples(f"{TOP}_count")) <= MAX_SCORE_SERIES + 20
        assert measured.total(f"{TOP}_count") == 2000

    def test_scales_are_bounded(self) -> None:
        """A ranker named anew with every search opens no series without end."""
        measured = Measured()
        for number in range(1000):
            measured.observe(span(search(VECTOR_RANKER=f"ranker-{number}")))
        measured.observe(span(search(VECTOR_RANKER="x" * 1000)))
        found = measured.samples(f"{TOP}_count")
        assert len(found) == MAX_SCORE_SERIES + 1
        assert sum(each.value for each in found) == 1001

    def test_an_allow_list_names_the_collections(self) -> None:
        """What fits none of its patterns is `other`."""
        measured = Measured(collections=["docs-*"])
        for name in ("docs-en", "docs-de", "secret"):
            measured.observe(span(search(DB_COLLECTION=name)))
        assert {
            each.labels["db_collection_name"] for each in measured.samples(f"{SEARCHES}_total")
        } == {"docs-en", "docs-de", "other"}

    def test_a_failed_search_opens_no_label(self) -> None:
        """It may name a collection that does not exist."""
        measured = Measured()
        measured.observe(span(search(None, DB_COLLECTION="typo"), is_error=True))
        (sample,) = measured.samples(f"{SEARCHES}_total")
        assert sample.labels["db_collection_name"] == "other"
        assert sample.labels["outcome"] == "error"

    def test_collections_thrown_together_have_no_drift(self) -> None:
        """Their scores have no baseline in common."""
        measured = Measured(max_collections=1)
        measured.observe(span(search()))
        for step in range(3000):
            measured.now = 10.0 * step
            measured.observe(span(search(step % 10 / 10, DB_COLLECTION="late")))
        assert measured.samples(DRIFT) == []
