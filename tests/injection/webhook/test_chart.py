"""The injector as the chart runs it: its options, its rights, its settings, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sidelight.injection import names
from sidelight.injection.webhook.certificates.pair import make
from support.helm import Object, rendered
from support.kubernetes.admission import RECORDED, connected, review_over, trusting
from support.kubernetes.api_server import ADMISSION, CORE, ApiServer, Rule
from support.kubernetes.deployed import deployed
from support.kubernetes.injector import Injector
from support.waiting import eventually

pytestmark = pytest.mark.real("helm-4")

NAMESPACE = "observability"
CONFIGURATION = f"{ADMISSION}/mutatingwebhookconfigurations/sidelight-injector"


def installed(**injection: Any) -> list[Object]:
    """What Helm would install in a cluster without policies."""
    values = {"injection": {"mode": "webhook", **injection}}
    return rendered(values, kubernetes="1.32", namespace=NAMESPACE)


def apply(server: ApiServer, objects: list[Object]) -> None:
    """Install or upgrade: fields that no manifest has stay as others have set them."""
    for content in objects:
        name = content["metadata"]["name"]
        match content["kind"]:
            case "Secret":
                path = f"{CORE}/namespaces/{NAMESPACE}/secrets/{name}"
                server.put(path, {**server.objects.get(path, {}), **copy.deepcopy(content)})
            case "MutatingWebhookConfiguration":
                path = f"{ADMISSION}/mutatingwebhookconfigurations/{name}"
                before = server.objects.get(path, {"webhooks": content["webhooks"]})["webhooks"]
                merged = copy.deepcopy(content)
                for webhook, old in zip(merged["webhooks"], before, strict=True):
                    webhook["clientConfig"] = {**old["clientConfig"], **webhook["clientConfig"]}
                server.put(path, merged)
            case "Role" | "ClusterRole":
                server.rules |= granted(content)


def granted(role: Object) -> set[Rule]:
    """The rights of a role, of those that the API server of the tests knows."""
    return {
        Rule(verb, resource, name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def replica(server: ApiServer, objects: list[Object], directory: Path) -> Injector:
    """A pod of the Deployment."""
    environment = {**server.environment, "POD_NAMESPACE": NAMESPACE}
    return deployed(objects, directory, environment, server.directory)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An empty cluster, in which nobody may do anything."""
    with ApiServer(tmp_path / "api") as running:
        yield running


def review(server: ApiServer, injector: Injector, path: str) -> Any:
    """The recorded pod after the call that the configuration asks an API server to make."""
    configuration = server.objects[CONFIGURATION]
    webhook = next(
        each
        for each in configuration["webhooks"]
        if each["clientConfig"]["service"]["path"] == path
    )
    service = webhook["clientConfig"]["service"]
    host = f"{service['name']}.{service['namespace']}.svc"
    asked = copy.deepcopy(RECORDED[0])
    if path.endswith("namespace"):
        asked["request"]["object"]["metadata"]["labels"] = {}
    connection = connected(injector.port, trusting(configuration), host)
    patched = review_over(connection, asked, path).applied(asked["request"]["object"])
    connection.close()
    return patched


def test_install_upgrade_and_restart(server: ApiServer, tmp_path: Path) -> None:
    """Two replicas inject by what the chart grants, and an upgrade changes no certificate."""
    objects = installed()
    apply(server, objects)
    with ExitStack() as pods:
        for number in range(2):
            injector = pods.enter_context(replica(server, objects, tmp_path / f"pod-{number}"))
            eventually(lambda injector=injector: injector.readiness() == "ready")
            for path in ("/inject", "/inject/namespace"):
                pod = review(server, injector, path)
                assert names.INJECTED in pod["metadata"]["annotations"]
        eventually(lambda: server.of("events"))
        bundles = [each["clientConfig"]["caBundle"] for each in webhooks(server)]
        upgraded = installed(
            webhook={"replicas": 3}, sidecar={"resources": {"limits": {"memory": "333Mi"}}}
        )
        apply(server, upgraded)
        new = pods.enter_context(replica(server, upgraded, tmp_path / "pod-2"))
        eventually(lambda: new.readiness() == "ready")
        assert [each["clientConfig"]["caBundle"] for each in webhooks(server)] == bundles
        pod = review(server, new, "/inject")
        sidecar = next(
            each for each in pod["spec"]["initContainers"] if each["name"] == names.SIDECAR
        )
        assert sidecar["resources"]["limits"]["memory"] == "333Mi"
    # Least rights: each is used, and none is missing.
    assert server.refused == []
    assert {Rule(call.verb, call.resource, call.name) for call in server.calls} == server.rules


def webhooks(server: ApiServer) -> list[Object]:
    """Those of the installed configuration."""
    found: list[Object] = server.objects[CONFIGURATION]["webhooks"]
    assert len(found) == 2
    return found


def test_without_events_it_has_no_right_to_them(server: ApiServer, tmp_path: Path) -> None:
    """And does not ask for it."""
    objects = installed(webhook={"events": False})
    apply(server, objects)
    assert not any(rule.resource == "events" for rule in server.rules)
    with replica(server, objects, tmp_path / "pod") as injector:
        eventually(lambda: injector.readiness() == "ready")
        review(server, injector, "/inject")
    assert server.refused == []


def test_a_supplied_certificate_needs_no_rights(server: ApiServer, tmp_path: Path) -> None:
    """Without Events the injector does without the API server, and without a token."""
    pair = make([f"sidelight-injector.{NAMESPACE}.svc"], 90, datetime.now(UTC))
    certificates = {
        "kind": "supplied",
        "existingSecret": "ours",
        "caBundle": pair.ca.decode(),
    }
    objects = installed(webhook={"events": False, "certificates": certificates})
    apply(server, objects)
    assert server.rules == set()
    files = {"tls.crt": pair.certificate, "tls.key": pair.key}
    with deployed(
        objects, tmp_path / "pod", {}, tmp_path / "nothing", secrets={"ours": files}
    ) as injector:
        assert injector.readiness() == "ready"
        assert names.INJECTED in review(server, injector, "/inject")["metadata"]["annotations"]
    assert server.calls == server.refused == []
