"""What the API server is answered: the patch, or always that the pod is allowed."""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidelight.base.http_server import HttpRequest, HttpResponse
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.page import Families
from sidelight.collector.metrics.registry import Registry
from sidelight.injection import names
from sidelight.injection.decision import PodDecision, PodOperation, Reason
from sidelight.injection.mutation import inject
from sidelight.injection.patch import PatchError, apply
from sidelight.injection.settings import InjectionSettings
from sidelight.injection.webhook.events import PodEvent
from sidelight.injection.webhook.handler import NAMESPACE_PATH, POD_PATH, ReviewHandler, patch_of
from sidelight.injection.webhook.metrics import InjectorMetrics
from support.fuzzing import inputs
from support.injection_settings import default_settings
from support.kubernetes.admission import RECORDED, Reviewed, checked


class Reviews:
    """A handler, and what it has told."""

    def __init__(self, settings: Any = default_settings) -> None:
        registry = Registry()
        self.events: list[PodEvent] = []
        self.handler = ReviewHandler(settings, InjectorMetrics(registry), self.events.append)
        self._exposition = Exposition(lambda: Families(own=registry.families()))

    async def ask(self, content: bytes, path: str = POD_PATH, method: str = "POST") -> HttpResponse:
        """The answer to any request."""
        headers = {"content-type": "application/json"}
        return await self.handler.handle(HttpRequest(method, path, headers, content))

    async def review(self, asked: dict[str, Any], path: str = POD_PATH) -> Reviewed:
        """The valid answer to a review."""
        answer = await self.ask(json.dumps(asked).encode(), path)
        return checked(asked, answer.status, answer.body)

    def lines(self) -> list[str]:
        """The injector's own lines of /metrics."""
        page = self._exposition.render(None)[1].decode()
        return [line for line in page.splitlines() if line.startswith("sidelight_injector")]


def asking(**metadata: Any) -> dict[str, Any]:
    """A recorded review of a pod whose metadata has `metadata`."""
    asked = copy.deepcopy(RECORDED[0])
    asked["request"]["object"]["metadata"] |= metadata
    return asked


async def test_a_pod_that_asks_is_injected() -> None:
    """By the same operations as on the command line."""
    reviews = Reviews()
    pod = RECORDED[0]["request"]["object"]
    answer = await reviews.review(RECORDED[0])
    decision = inject(pod, default_settings())
    assert decision.reason is Reason.INJECTED
    assert answer.applied(pod) == apply(pod, decision.operations)
    assert answer.response["auditAnnotations"] == {"reason": "injected"}
    assert "warnings" not in answer.response
    (event,) = reviews.events
    assert event.reason is Reason.INJECTED
    assert (
        'sidelight_injector_pods_total{outcome="injected",reason="injected"} 1' in reviews.lines()
    )
    assert "sidelight_injector_review_duration_seconds_count 1" in reviews.lines()


async def test_the_second_review_of_a_pod_changes_nothing() -> None:
    """With reinvocationPolicy IfNeeded the API server asks again after other webhooks."""
    reviews = Reviews()
    pod = RECORDED[0]["request"]["object"]
    again = copy.deepcopy(RECORDED[0])
    again["request"]["object"] = (await reviews.review(RECORDED[0])).applied(pod)
    answer = await reviews.review(again)
    assert answer.patch == []
    assert answer.response["auditAnnotations"] == {"reason": "already_injected"}
    assert "warnings" not in answer.response


async def test_the_path_says_that_the_namespace_asks() -> None:
    """The API server does not tell a webhook the namespace's labels, but chooses by them."""
    reviews = Reviews()
    plain = asking(labels={})
    assert (await reviews.review(plain, POD_PATH)).patch == []
    assert (await reviews.review(plain, NAMESPACE_PATH)).patch != []
    opted_out = asking(labels={names.INJECT: "false"})
    assert (await reviews.review(opted_out, NAMESPACE_PATH)).patch == []
    # Only the injected pod is worth an Event.
    assert [event.reason for event in reviews.events] == [Reason.INJECTED]


async def test_a_pod_that_asks_in_vain_is_told_why() -> None:
    """On the terminal of the user that creates it, and as an Event."""
    reviews = Reviews()
    asked = asking()
    asked["request"]["object"]["spec"]["hostNetwork"] = True
    answer = await reviews.review(asked)
    assert answer.patch == []
    (warning,) = answer.response["warnings"]
    assert warning.startswith("sidelight: the pod is not injected: The pod uses the network of its")
    assert [event.reason for event in reviews.events] == [Reason.HOST_NETWORK]
    counted = 'sidelight_injector_pods_total{outcome="skipped",reason="host_network"} 1'
    assert counted in reviews.lines()


@pytest.mark.parametrize(
    ("image", "metadata", "is_told"),
    [
        ("postgres", {"labels": {}}, False),
        ("vllm/vllm-openai", {"labels": {}}, True),
        ("postgres", {"labels": {names.INJECT: "true"}}, True),
        ("postgres", {"labels": {}, "annotations": {names.INJECT: "true"}}, True),
        ("postgres", {"labels": {}, "annotations": {names.CONTAINER: "other"}}, True),
        ("postgres", {"labels": {names.INJECT: "false"}}, False),
    ],
)
@pytest.mark.parametrize("host_network", [False, True])
async def test_other_pods_of_a_namespace_are_left_alone_silently(
    image: str, metadata: dict[str, Any], is_told: bool, host_network: bool
) -> None:
    """Who labels a namespace means its vLLM pods, not the database beside them."""
    reviews = Reviews()
    asked = asking(**metadata)
    spec = asked["request"]["object"]["spec"]
    spec["containers"][0]["image"] = image
    spec["hostNetwork"] = host_network
    answer = await reviews.review(asked, NAMESPACE_PATH)
    is_injected = image != "postgres" and not host_network
    assert bool(answer.patch) == is_injected
    assert ("warnings" in answer.response) == (is_told and not is_injected)
    assert len(reviews.events) == is_told
    assert sum("sidelight_injector_pods_total{" in line for line in reviews.lines()) == 1


async def test_what_hinders_an_event_does_not_hinder_injection() -> None:
    """A container without a name, which only a broken client sends."""
    reviews = Reviews()
    asked = asking()
    del asked["request"]["object"]["spec"]["containers"][0]["name"]
    assert (await reviews.review(asked)).patch
    assert reviews.events == []


async def test_a_dry_run_leaves_no_event() -> None:
    """It gets the same answer, and has no effect."""
    reviews = Reviews()
    assert RECORDED[1]["request"]["dryRun"]
    assert (await reviews.review(RECORDED[1])).patch != []
    assert reviews.events == []


async def test_an_internal_error_admits_the_pod(caplog: pytest.LogCaptureFixture) -> None:
    """The user is warned, and the log has the place of the error."""

    def broken() -> InjectionSettings:
        raise RuntimeError("secret of a pod")

    reviews = Reviews(broken)
    answer = await reviews.review(RECORDED[0])
    assert answer.patch == []
    assert answer.response["warnings"] == [
        "sidelight: the pod is not injected because of an internal error; see the injector's log"
    ]
    assert answer.response["auditAnnotations"] == {"reason": "internal_error"}
    assert "review failed; the pod is created without Sidelight" in caplog.text
    assert 'sidelight_injector_errors_total{kind="internal"} 1' in reviews.lines()


def test_a_patch_that_does_not_apply_is_not_sent() -> None:
    """The API server would refuse the pod, even with failurePolicy Ignore."""
    wrong = PodDecision((PodOperation("add", "/spec/missing/0", {}),), Reason.INJECTED)
    with pytest.raises(PatchError):
        patch_of(RECORDED[0]["request"]["object"], wrong)


async def test_unknown_versions_are_answered_in_their_version() -> None:
    """With what to change, which the API server shows to the user."""
    reviews = Reviews()
    answer = await reviews.review({**RECORDED[0], "apiVersion": "admission.k8s.io/v1beta1"})
    (warning,) = answer.response["warnings"]
    assert "set admissionReviewVersions of the webhook configuration to [v1]" in warning


async def test_rules_that_are_too_wide_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """They would send every change of every object of the cluster."""
    caplog.set_level(logging.WARNING)
    reviews = Reviews()
    asked = copy.deepcopy(RECORDED[0])
    asked["request"]["operation"] = "UPDATE"
    for _ in range(3):
        assert "warnings" not in (await reviews.review(asked)).response
    assert caplog.text.count("limit the rules of the webhook configuration") == 1


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/", b"{}", 404),
        ("GET", POD_PATH, b"", 405),
        ("POST", POD_PATH, b"not JSON", 400),
        ("POST", POD_PATH, b"{}", 400),
    ],
)
async def test_what_is_no_review_is_refused_in_words(
    method: str, path: str, content: bytes, status: int
) -> None:
    """People try the port with curl."""
    answer = await Reviews().ask(content, path, method)
    assert answer.status == status
    assert answer.body.endswith(b"\n")


def _broken_pods() -> st.SearchStrategy[Any]:
    """Pods that are almost right: one part is replaced by anything."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    )
    pod = RECORDED[0]["request"]["object"]
    paths = list(_paths(pod))

    def broken(path: tuple[Any, ...], value: Any) -> Any:
        changed = copy.deepcopy(pod)
        target: Any = changed
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
        return changed

    return st.builds(broken, st.sampled_from(paths), anything) | anything


def _paths(value: Any, before: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*before, key)
        if isinstance(inner, (dict, list)):
            yield from _paths(inner, (*before, key))


@given(_broken_pods(), st.sampled_from([POD_PATH, NAMESPACE_PATH]))
@inputs(100, 0.02)
async def test_any_pod_is_allowed(pod: Any, path: str) -> None:
    """With a patch that applies, or none; under its own uid."""
    reviews = Reviews()
    asked = copy.deepcopy(RECORDED[0])
    asked["request"]["object"] = pod
    answer = await reviews.review(asked, path)
    if answer.patch:
        answer.applied(pod)
