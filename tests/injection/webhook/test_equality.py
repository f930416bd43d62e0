"""Webhook mode gives each pod what policy and command give it: the chart's choice, then ours."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from sidelight.base.http_server import HttpRequest
from sidelight.collector.metrics.registry import Registry
from sidelight.injection import names
from sidelight.injection.mutation import inject
from sidelight.injection.webhook.handler import ReviewHandler
from sidelight.injection.webhook.metrics import InjectorMetrics
from support import admission_policy
from support.any_pods import NAMESPACE_LABELS, PODS
from support.fuzzing import inputs
from support.helm import Object, only, rendered
from support.injection_settings import default_settings
from support.kubernetes.admission import RECORDED, checked
from support.paths import TESTS
from support.pods import pods_of

pytestmark = pytest.mark.real("helm-4")

MANIFESTS = sorted((TESTS / "injection" / "manifests").glob("*.yaml"))


@pytest.fixture(scope="module")
def configuration() -> Object:
    """The MutatingWebhookConfiguration of the chart."""
    values = {"injection": {"mode": "webhook"}}
    return only(rendered(values, kubernetes="1.32"), "MutatingWebhookConfiguration")


def path_for(
    configuration: Object, pod: dict[str, Any], namespace_labels: dict[str, str]
) -> str | None:
    """Which path an API server calls for the pod; None if it does not call."""
    paths = [
        webhook["clientConfig"]["service"]["path"]
        for webhook in configuration["webhooks"]
        if _selects(
            webhook["namespaceSelector"],
            {"kubernetes.io/metadata.name": "models", **namespace_labels},
        )
        and all(
            admission_policy.evaluate(condition["expression"], {"object": pod}) is True
            for condition in webhook["matchConditions"]
        )
    ]
    # Two calls for one pod would be one too many.
    assert len(paths) <= 1
    return paths[0] if paths else None


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    for requirement in selector["matchExpressions"]:
        is_in = labels.get(requirement["key"]) in requirement["values"]
        if is_in != (requirement["operator"] == "In"):
            return False
    return True


async def compare(
    configuration: Object, pod: dict[str, Any], namespace_labels: dict[str, str]
) -> None:
    """The patch of webhook mode is that of the command, or neither has one."""
    decoded = {"metadata": {}, **admission_policy.decoded(pod)}
    decision = inject(decoded, default_settings(), namespace_labels=namespace_labels)
    expected = [operation.as_json() for operation in decision.operations]
    path = path_for(configuration, decoded, namespace_labels)
    if path is None:
        assert expected == []
        return
    handler = ReviewHandler(default_settings, InjectorMetrics(Registry()), lambda _event: None)
    review = copy.deepcopy(RECORDED[0])
    review["request"]["object"] = decoded
    request = HttpRequest("POST", path, {}, json.dumps(review).encode())
    answer = await handler.handle(request)
    assert checked(review, answer.status, answer.body).patch == expected


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
async def test_manifests(configuration: Object, path: Path) -> None:
    """Every pod of the platforms' manifests, in a namespace that asks and in one that does not."""
    for document in yaml.safe_load_all(path.read_text()):
        for pod in pods_of(document):
            await compare(configuration, pod, {})
            await compare(configuration, pod, {names.INJECT: "true"})


@given(PODS, NAMESPACE_LABELS)
@inputs(100, 0.01)
async def test_any_pod(
    configuration: Object, pod: dict[str, Any], namespace_labels: dict[str, str]
) -> None:
    """Of any form."""
    await compare(configuration, pod, namespace_labels)
