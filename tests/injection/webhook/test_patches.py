"""Our patches in Kubernetes's own patch code, which kubectl has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from sidelight.injection.webhook.certificates.keeper import CertificateKeeper, CertificatePlace
from sidelight.injection.webhook.certificates.rotation import Renewal
from sidelight.injection.webhook.handler import patch_of
from sidelight.injection.webhook.kubernetes_api import in_cluster
from support.helm import only, rendered
from support.injection_settings import default_settings
from support.kubernetes.admission import RECORDED
from support.kubernetes.api_server import ADMISSION, CORE, ApiServer, Rule
from support.kubernetes.kubectl import patched
from support.paths import TESTS
from support.pods import pods_of

pytestmark = pytest.mark.real("helm-4")

MANIFESTS = sorted((TESTS / "injection" / "manifests").glob("*.yaml"))
ASKS = {"sidelight.dev/inject": "true"}


def compare(pod: dict[str, Any]) -> bool:
    """Both patch implementations give the same pod; whether there was a patch."""
    decision = inject(pod, default_settings(), namespace_labels=ASKS)
    if not decision.operations:
        return False
    whole = {"apiVersion": "v1", "kind": "Pod", **pod}
    by_kubectl = patched(whole, patch_of(pod, decision), "json")
    ours = apply(whole, decision.operations)
    for one in (by_kubectl, ours):
        # kubectl leaves out what is null.
        one["metadata"].pop("creationTimestamp", None)
    assert by_kubectl["metadata"] == ours["metadata"]
    assert by_kubectl["spec"] == ours["spec"]
    return True


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests(path: Path) -> None:
    """Every pod of the platforms' manifests."""
    for document in yaml.safe_load_all(path.read_text()):
        for pod in pods_of(document):
            compare({key: pod[key] for key in ("metadata", "spec")})


def test_recorded_pods() -> None:
    """As an API server has them, with every default."""
    assert [compare(review["request"]["object"]) for review in RECORDED] == [True, True, False]


async def test_the_ca_bundle(tmp_path: Path) -> None:
    """A strategic merge patch changes it in each webhook, and nothing else."""
    values = {"injection": {"mode": "webhook"}}
    configuration = only(rendered(values, kubernetes="1.32"), "MutatingWebhookConfiguration")
    name = configuration["metadata"]["name"]
    path = f"{ADMISSION}/mutatingwebhookconfigurations/{name}"
    rules = {
        *(Rule(verb, "secrets", "tls") for verb in ("get", "update")),
        *(Rule(verb, "mutatingwebhookconfigurations", name) for verb in ("get", "patch")),
    }
    with ApiServer(tmp_path / "api", rules) as server:
        server.put(
            f"{CORE}/namespaces/monitoring/secrets/tls", {"kind": "Secret", "type": "Opaque"}
        )
        server.put(path, configuration)
        api = in_cluster(server.environment, server.directory)
        place = CertificatePlace("monitoring", "tls", name)
        keeper = CertificateKeeper(
            api, place, Renewal(("injector.monitoring.svc",), 90), lambda _pair: None
        )
        await keeper.look()
        api.close()
        ((before, change, after),) = server.merges
    by_kubectl = patched(before, change, "strategic")
    assert by_kubectl["webhooks"] == after["webhooks"]
    bundles = {each["clientConfig"]["caBundle"] for each in after["webhooks"]}
    assert len(after["webhooks"]) == 2
    assert len(bundles) == 1
    assert [{**each, "clientConfig": {}} for each in after["webhooks"]] == [
        {**each, "clientConfig": {}} for each in configuration["webhooks"]
    ]
