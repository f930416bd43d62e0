"""The chart in a real API server, in both modes: install, inject, upgrade, rotate, uninstall.

Needs the folder that KUBEBUILDER_ASSETS names, with `etcd` and `kube-apiserver`. No package
registry has them; without them these tests are skipped, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidelight.injection import names
from support.helm import CHART, Object, helm, objects
from support.kubernetes.control_plane import VARIABLE, ControlPlane, assets, own_address
from support.kubernetes.deployed import deployed
from support.kubernetes.injector import Injector
from support.waiting import eventually

pytestmark = [
    pytest.mark.real("helm-4"),
    pytest.mark.slow,
    pytest.mark.skipif(
        assets() is None, reason=f"{VARIABLE} names no folder with etcd and kube-apiserver"
    ),
]

NAMESPACE = "sidelight"
PODS = "/api/v1/namespaces/models/pods"
CONFIGURATION = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sidelight-injector"
)
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/sidelight-injector-tls"
FIRST_VERSION_WITH_POLICIES = 36


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with a namespace for models."""
    folder = assets()
    assert folder is not None
    directory = tmp_path_factory.mktemp("cluster") / "control-plane"
    account = f"{NAMESPACE}/sidelight-injector"
    with ControlPlane(folder, directory, account) as running:
        for name in ("models", NAMESPACE):
            created = running.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            assert created.status == 201, created
        yield running


def release(cluster: ControlPlane, command: str, *options: str) -> None:
    """Run Helm on the release."""
    chart = () if command == "uninstall" else (CHART,)
    place = ("--namespace", NAMESPACE, "--kubeconfig", cluster.kubeconfig)
    helm(command, "sidelight", *chart, *place, *options)


def manifest(cluster: ControlPlane) -> list[Object]:
    """What Helm has installed."""
    place = ("--namespace", NAMESPACE, "--kubeconfig", cluster.kubeconfig)
    return objects(helm("get", "manifest", "sidelight", *place))


@contextmanager
def installed(cluster: ControlPlane, mode: str) -> Iterator[None]:
    """The release in one mode, until the end of the block."""
    release(cluster, "install", "--set", f"injection.mode={mode}")
    try:
        yield
    finally:
        release(cluster, "uninstall")


def created(cluster: ControlPlane, labels: dict[str, str] | None = None) -> Any:
    """A new pod as it was stored."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "vllm-", "labels": labels or {names.INJECT: "true"}},
        "spec": {"containers": [{"name": "vllm", "image": "vllm/vllm-openai:v0.32.0"}]},
    }
    answer = cluster.call("POST", PODS, pod)
    assert answer.status == 201, answer
    return answer.content


def is_injected(pod: Any) -> bool:
    """Whether it has the stamp and the sidecar."""
    sidecars = [each["name"] for each in pod["spec"].get("initContainers", [])]
    stamp = names.INJECTED in pod["metadata"].get("annotations", {})
    assert stamp == (names.SIDECAR in sidecars)
    return stamp


def label_namespace(cluster: ControlPlane, labels: dict[str, str]) -> None:
    """Give the namespace of the models these labels."""
    path = "/api/v1/namespaces/models"
    content = cluster.call("GET", path).content
    content["metadata"]["labels"] = labels
    assert cluster.call("PUT", path, content).status == 200


def reachable(cluster: ControlPlane, injector: Injector) -> None:
    """Make the injector the endpoint of its Service, as a controller would."""
    address = own_address()
    metadata = {"name": "sidelight-injector", "namespace": NAMESPACE}
    port = {"name": "webhook", "port": injector.port, "protocol": "TCP"}
    core = f"/api/v1/namespaces/{NAMESPACE}/endpoints"
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    for path in (f"{core}/sidelight-injector", f"{slices}/sidelight-injector"):
        cluster.call("DELETE", path)
    # Older API servers read the one, newer ones the other.
    subset = {"addresses": [{"ip": address}], "ports": [port]}
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]}
    assert cluster.call("POST", core, endpoints).status == 201
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "sidelight-injector"}},
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
    assert cluster.call("POST", slices, endpoint_slice).status == 201


def pod_of_the_injector(cluster: ControlPlane, directory: Path) -> Injector:
    """A process with the options of the installed Deployment, reachable for the API server."""
    return deployed(
        manifest(cluster),
        directory,
        cluster.environment,
        cluster.account_directory,
        "--host=0.0.0.0",
    )


def bundle(cluster: ControlPlane) -> str:
    """The authorities that the API server trusts."""
    webhooks = cluster.call("GET", CONFIGURATION).content["webhooks"]
    return str(webhooks[0]["clientConfig"].get("caBundle", ""))


def check_choices(cluster: ControlPlane) -> None:
    """Pod, namespace, opting out: the same in both modes."""
    eventually(lambda: is_injected(created(cluster)), "the first injected pod")
    assert not is_injected(created(cluster, {"app": "vllm"}))
    label_namespace(cluster, {names.INJECT: "true"})
    eventually(lambda: is_injected(created(cluster, {"app": "vllm"})), "a pod of the namespace")
    assert not is_injected(created(cluster, {names.INJECT: "false"}))
    label_namespace(cluster, {})


def test_webhook(cluster: ControlPlane, tmp_path: Path) -> None:
    """With the rights of the chart's roles alone, over the API server's own TLS."""
    with installed(cluster, "webhook"):
        with pod_of_the_injector(cluster, tmp_path / "1") as injector:
            eventually(lambda: injector.readiness() == "ready", state=injector.readiness)
            reachable(cluster, injector)
            check_choices(cluster)
            trusted = bundle(cluster)
            release(
                cluster, "upgrade", "--set", "injection.mode=webhook,injection.webhook.replicas=3"
            )
            assert bundle(cluster) == trusted
            assert is_injected(created(cluster))
            events = "/api/v1/namespaces/models/events"
            eventually(lambda: cluster.call("GET", events).content["items"], "an Event")
        # Without the injector, pods are created as they are.
        assert not is_injected(created(cluster))
        # A new certificate, as docs/kubernetes/injector.md says.
        secret = cluster.call("GET", SECRET).content
        del secret["data"]
        assert cluster.call("PUT", SECRET, secret).status == 200
        with pod_of_the_injector(cluster, tmp_path / "2") as injector:
            eventually(lambda: injector.readiness() == "ready", state=injector.readiness)
            reachable(cluster, injector)
            eventually(lambda: is_injected(created(cluster)), "a pod by the new certificate")
            assert bundle(cluster) != trusted
    for path in (CONFIGURATION, SECRET):
        assert cluster.call("GET", path).status == 404
    assert not is_injected(created(cluster))


def test_policy(cluster: ControlPlane) -> None:
    """The API server evaluates the CEL itself."""
    minor = int(cluster.call("GET", "/version").content["minor"].rstrip("+"))
    if minor < FIRST_VERSION_WITH_POLICIES:
        pytest.skip(f"Kubernetes 1.{minor} has no MutatingAdmissionPolicy")
    with installed(cluster, "policy"):
        check_choices(cluster)
        release(cluster, "upgrade", "--set", "injection.mode=policy")
        assert is_injected(created(cluster))
    eventually(lambda: not is_injected(created(cluster)), "a pod after the release")
