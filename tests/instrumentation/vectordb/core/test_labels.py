"""Labels of metrics: bounded, and used up only by what exists."""

from __future__ import annotations

import math

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb.core import labels
from sidelight.instrumentation.vectordb.core.call import DatabaseCall
from sidelight.instrumentation.vectordb.core.failures import Failure
from sidelight.instrumentation.vectordb.core.labels import CallLabels
from sidelight.instrumentation.vectordb.core.scores import ScoreScale, summarised
from sidelight.instrumentation.vectordb.core.target import CallTargets
from sidelight.instrumentation.vectordb.milvus.description import MILVUS

FAILURE = Failure("MilvusException", "100", "no such collection")
TARGETS = CallTargets(MILVUS)


def call_of(
    collection: str = "docs",
    failure: Failure | None = None,
    *,
    namespace: str | None = None,
    address: str | None = None,
    metric_type: str | None = None,
) -> DatabaseCall:
    """An ended call."""
    call = DatabaseCall(Settings(), {})
    call.target = TARGETS.get("search", collection, namespace, address, 19530 if address else None)
    call.failure = failure
    call.metric_type = metric_type
    return call


def test_failing_names_use_up_nothing() -> None:
    """Collections, tenants, servers and metric types that do not exist are `other` or left out."""
    shown = CallLabels("milvus")
    seen = set()

    for number in range(2_000):
        attributes = shown.of_call(
            call_of(
                f"wrong-{number}",
                FAILURE,
                namespace=f"tenant-{number}",
                address=f"host-{number}",
                metric_type=f"L{number}",
            )
        )
        seen.add(tuple(sorted(attributes.items())))
    real = shown.of_call(
        call_of(namespace="default", address="milvus", metric_type="COSINE"),
    )

    assert len(seen) == 1
    assert dict(seen.pop())[names.DB_COLLECTION] == "other"
    assert real == {
        names.SERVER_ADDRESS: "milvus",
        names.SERVER_PORT: 19530,
        names.DB_NAMESPACE: "default",
        names.DB_COLLECTION: "docs",
        names.DB_OPERATION: "search",
        names.DB_SYSTEM: "milvus",
        names.VECTOR_METRIC_TYPE: "COSINE",
    }


def test_a_failed_call_of_what_is_known_has_its_name() -> None:
    """Which collection fails is what an operator looks for."""
    shown = CallLabels("milvus")
    shown.of_call(call_of("docs", address="milvus"))

    attributes = shown.of_call(call_of("docs", FAILURE, address="milvus"))

    assert attributes[names.DB_COLLECTION] == "docs"
    assert attributes[names.SERVER_ADDRESS] == "milvus"
    assert attributes[names.ERROR_TYPE] == "MilvusException"
    assert attributes[names.DB_STATUS_CODE] == "100"


def test_a_name_that_failed_first_is_known_once_it_succeeds() -> None:
    """As when an app starts before its database has the collection."""
    shown = CallLabels("milvus")
    shown.of_call(call_of("docs", FAILURE))

    assert shown.of_call(call_of("docs"))[names.DB_COLLECTION] == "docs"


def test_servers_and_errors_are_bounded() -> None:
    """An app may talk to many servers and raise many kinds of exceptions."""
    shown = CallLabels("milvus")
    addresses, errors = set(), set()

    for number in range(500):
        good = shown.of_call(call_of(address=f"host-{number}"))
        addresses.add(good[names.SERVER_ADDRESS])
        bad = shown.of_call(call_of(failure=Failure(f"Error{number}", str(number), "")))
        errors.add((bad[names.ERROR_TYPE], bad.get(names.DB_STATUS_CODE)))

    assert len(addresses) == labels.MAX_MEASURED_SERVERS + 1
    assert "other" in addresses
    assert len(errors) == labels.MAX_ERRORS + 1
    assert ("_OTHER", None) in errors


def test_scores_beyond_the_bound_of_scales_are_not_recorded() -> None:
    """Recorded together they would be one series of scores that do not compare."""
    shown = CallLabels("milvus")
    scales = [ScoreScale(f"L{number}") for number in range(2 * labels.MAX_SCORE_SCALES)]

    series = [shown.of_scores(call_of(), scale) for scale in scales]

    known = [attributes for attributes in series if attributes is not None]
    assert len({attributes[names.VECTOR_METRIC_TYPE] for attributes in known}) == len(known)
    assert len(known) < labels.MAX_SCORE_SCALES
    # Its calls are counted all the same.
    last = call_of(metric_type=scales[-1].metric_type)
    assert names.VECTOR_METRIC_TYPE not in shown.of_call(last)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_left_out(wrong: float) -> None:
    """One of them would make the sum of a histogram, and every mean, worthless for good."""
    assert summarised([wrong, 0.75, 0.25]) == (0.75, 0.25, 0.5, 0.5)
    assert summarised([wrong]) is None

    call = call_of()
    call.set_scores([[wrong], [0.5]])

    assert call.rows == 2
    assert call.empty_queries == 0
    assert call.scores == [(0.5, 0.5, 0.5, None)]
    assert call.attributes[names.VECTOR_SCORE_TOP] == 0.5
