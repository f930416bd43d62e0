"""AdmissionReviews of every kind: each gets an answer that an API server accepts, or a 400."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.injection.webhook.review import (
    MAX_DEPTH,
    Obstacle,
    ReviewResult,
    UnreadableReviewError,
    answer,
    read_request,
)
from support.fuzzing import inputs
from support.kubernetes.admission import RECORDED, checked

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def review(**changes: Any) -> dict[str, Any]:
    """A recorded review; `changes` replace parts of its request."""
    changed = copy.deepcopy(RECORDED[0])
    changed["request"] |= changes
    return changed


def body(content: Any) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["request"]["uid"])
def test_recorded_reviews_are_read(recorded: dict[str, Any]) -> None:
    """As a real API server sends them."""
    request = read_request(body(recorded))
    assert request.uid == recorded["request"]["uid"]
    assert request.namespace == "default"
    assert request.is_dry_run == recorded["request"]["dryRun"]
    assert request.pod == recorded["request"]["object"]
    assert request.obstacle is None


def test_an_answer_holds_the_patch() -> None:
    """In base64, with its type; the reason is for the audit log."""
    asked = review()
    operations = [{"op": "add", "path": "/metadata/labels/é", "value": "“quoted”"}]
    reviewed = checked(
        asked, 200, answer(read_request(body(asked)), ReviewResult("injected", operations))
    )
    assert reviewed.patch == operations
    assert reviewed.response["auditAnnotations"] == {"reason": "injected"}


def test_a_warning_is_one_printable_line() -> None:
    """It is sent as an HTTP header, which a line feed would end."""
    asked = review()
    warned = answer(read_request(body(asked)), ReviewResult("x", warning="a\nb\x00" + "c" * 1000))
    (warning,) = checked(asked, 200, warned).response["warnings"]
    assert warning.startswith("sidelight: a b ccc")


@pytest.mark.parametrize(
    ("asked", "obstacle"),
    [
        ({**RECORDED[0], "apiVersion": "admission.k8s.io/v1beta1"}, Obstacle.VERSION),
        ({**RECORDED[0], "apiVersion": "admission.k8s.io/v2"}, Obstacle.VERSION),
        (review(operation="UPDATE"), Obstacle.RESOURCE),
        (review(operation=None), Obstacle.RESOURCE),
        (review(subResource="ephemeralcontainers"), Obstacle.RESOURCE),
        (
            review(resource={"group": "apps", "version": "v1", "resource": "pods"}),
            Obstacle.RESOURCE,
        ),
        (review(resource="pods"), Obstacle.RESOURCE),
        (review(object=None), Obstacle.MALFORMED),
        (review(object=[1]), Obstacle.MALFORMED),
    ],
)
def test_what_is_no_new_pod_is_allowed_as_it_is(asked: dict[str, Any], obstacle: Obstacle) -> None:
    """In the version that was asked with, and without a look at the object."""
    request = read_request(body(asked))
    assert request.obstacle is obstacle
    assert request.pod == {}
    checked(asked, 200, answer(request, ReviewResult(obstacle.value, warning=obstacle.sentence)))


def test_depth_is_bounded() -> None:
    """A pod has some 12 levels; what follows would recurse."""
    nested: Any = {}
    for _ in range(MAX_DEPTH):
        nested = {"a": [nested]}
    assert read_request(body(review(object=nested))).obstacle is Obstacle.DEPTH
    assert read_request(body(review(object={"a": [{}] * 10_000}))).obstacle is None
    with pytest.raises(UnreadableReviewError, match="not JSON"):
        read_request(b"[" * 100_000)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"},
        review(uid=""),
        review(uid=None),
        review(uid=17),
        {**RECORDED[0], "request": None},
        {**RECORDED[0], "kind": "Pod"},
        {**RECORDED[0], "apiVersion": "v1"},
        {**RECORDED[0], "apiVersion": None},
    ],
)
def test_without_a_uid_there_is_no_answer(content: Any) -> None:
    """It would be an answer to nothing, so the sender is told what belongs here."""
    with pytest.raises(UnreadableReviewError, match="only an API server should call"):
        read_request(body(content))


@given(st.binary())
@inputs(100, 0.1)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Nothing else is raised."""
    with pytest.raises(UnreadableReviewError):
        read_request(content)


@given(
    st.dictionaries(st.sampled_from(sorted(RECORDED[0]["request"])), _JSON),
    st.sampled_from(["admission.k8s.io/v1", "admission.k8s.io/v1beta1", "admission.k8s.io/"]),
)
@inputs(100, 0.1)
def test_any_request_is_answered_under_its_uid(changes: dict[str, Any], version: str) -> None:
    """Whatever its other fields hold."""
    asked = {**review(**changes), "apiVersion": version}
    try:
        request = read_request(msgspec.json.encode(asked))
    except UnreadableReviewError:
        assert not asked["request"]["uid"] or not isinstance(asked["request"]["uid"], str)
        return
    checked(asked, 200, answer(request, ReviewResult("none")))
