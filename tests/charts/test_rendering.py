"""What Helm makes of the chart, on each Kubernetes version, with Helm 3 and 4."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Literal

import pytest

from support.chart_values import CASES, made
from support.helm import (
    CHART,
    OPENSHIFT_API,
    OPERATOR_API,
    Object,
    helm,
    objects,
    only,
    pod_specs,
    rendered,
    template,
    tool,
)
from support.kubernetes.answering_cluster import answering_cluster
from support.kubernetes_schemas import faults
from support.paths import ROOT

pytestmark = [pytest.mark.real("helm-4", "helm-3"), pytest.mark.usefixtures("renderings")]

VERSIONS = ("1.29", "1.32", "1.36", "1.37")
WAYS: tuple[tuple[Literal["policy", "webhook"], str], ...] = (
    ("policy", "1.37"),
    ("webhook", "1.32"),
)
_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_takes_the_defaults(version: str) -> None:
    """Strictly: an unknown field is a fault."""
    listed = rendered({"monitoring": {"dashboards": {}}}, kubernetes=version, apis=[OPERATOR_API])
    assert faults(listed, version) == []


@pytest.mark.parametrize("case", CASES)
def test_unusual_values_are_taken(case: str) -> None:
    """Fields are known, names and labels are valid, and selectors select."""
    for way, version in WAYS:
        listed = made(case, way)
        assert faults(listed, version) == []
        _are_well_named(listed)
        _select_their_pods(listed)


def _are_well_named(listed: list[Object]) -> None:
    seen = set()
    for one in listed:
        metadata = one["metadata"]
        identity = (one["apiVersion"], one["kind"], metadata["name"])
        assert identity not in seen
        seen.add(identity)
        longest = 52 if one["kind"] == "StatefulSet" else 63
        assert _DNS_LABEL.fullmatch(metadata["name"])
        assert len(metadata["name"]) <= longest
        for labels in (metadata["labels"], _template(one).get("metadata", {}).get("labels", {})):
            assert all(_LABEL_VALUE.fullmatch(value) for value in labels.values()), labels


def _template(one: Object) -> dict[str, Any]:
    spec = one.get("spec", {})
    template: dict[str, Any] = spec.get("template", {}) if isinstance(spec, dict) else {}
    return template


def _select_their_pods(listed: list[Object]) -> None:
    """Each selector of a Service, policy or monitor fits the pods or Service it is meant for."""
    pods = [_template(one)["metadata"]["labels"] for one in listed if _template(one)]
    services = [one["metadata"]["labels"] for one in listed if one["kind"] == "Service"]
    for one in listed:
        spec = one.get("spec", {})
        match one["kind"]:
            case "Service":
                selector, candidates = spec["selector"], pods
            case "PodDisruptionBudget" | "Deployment" | "StatefulSet":
                selector, candidates = spec["selector"]["matchLabels"], pods
            case "NetworkPolicy":
                selector, candidates = spec["podSelector"]["matchLabels"], pods
            case "ServiceMonitor":
                selector, candidates = spec["selector"]["matchLabels"], services
            case _:
                continue
        fitting = [labels for labels in candidates if selector.items() <= labels.items()]
        assert len(fitting) == 1, one


def test_both_helms_render_the_same() -> None:
    """Those who change from Helm 3 to 4 see no difference."""
    for case in ("defaults", "everything configured", "scaled by KEDA"):
        by_3, by_4 = (
            rendered(CASES[case], apis=[OPERATOR_API], environment=environment)
            for environment in ("helm-3", "helm-4")
        )
        assert sorted(by_3, key=str) == sorted(by_4, key=str)


def test_the_same_values_render_the_same() -> None:
    """GitOps compares what is rendered with what is there: nothing is random."""
    first = template("{}", "1.37", (OPERATOR_API,), "sidelight", "observability", "helm-4")
    again = helm(
        "template", "sidelight", CHART, "--namespace", "observability", "--kube-version", "1.37",
        "--api-versions", OPERATOR_API, "--is-upgrade",
    )  # fmt: skip
    assert objects(first) == objects(again)


@pytest.mark.parametrize("environment", ["helm-3", "helm-4"])
def test_lint_and_package(environment: str, tmp_path: Path) -> None:
    """The chart passes `helm lint --strict`, and its package renders as its folder does."""
    helm("lint", "--strict", CHART, environment=environment)
    helm("package", CHART, "--destination", tmp_path, environment=environment)
    (package,) = tmp_path.iterdir()
    # Helm keeps chart and objects, compressed, in a Secret: 1 MiB at most.
    assert package.stat().st_size < 300_000
    with tarfile.open(package) as archive:
        assert "sidelight/schema.yaml" not in archive.getnames()
    listed = objects(helm("template", "x", package, environment=environment))
    assert {one["kind"] for one in listed} >= {"StatefulSet", "Service", "ConfigMap"}


def test_older_clusters_are_refused() -> None:
    """Before 1.29 an init container with restartPolicy Always blocks the pod."""
    with pytest.raises(Exception, match=r"1\.29"):
        rendered({}, kubernetes="1.28")


def test_every_pod_meets_the_restricted_standard() -> None:
    """Pod Security Standard `restricted`, and a read-only root."""
    for spec in pod_specs(rendered({})):
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}
        assert not any("hostPath" in volume for volume in spec["volumes"])


def test_openshift_chooses_the_ids() -> None:
    """Its SecurityContextConstraints refuse ids outside of the namespace's range."""
    for values, apis in (({}, [OPENSHIFT_API]), ({"platform": "openshift"}, [])):
        for spec in pod_specs(rendered(values, apis=apis)):
            assert spec["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    kept = rendered({"platform": "kubernetes"}, apis=[OPENSHIFT_API])
    assert all(spec["securityContext"]["fsGroup"] == 65532 for spec in pod_specs(kept))


def test_the_gateway_is_asked_where_it_answers() -> None:
    """Ports of Service, probes and policies follow sidelight.yaml."""
    listed = rendered(CASES["other ports"])
    ports = {
        port["name"]: port["port"] for port in only(listed, "Service", "-gateway")["spec"]["ports"]
    }
    assert ports == {"otlp-http": 14318, "metrics": 19464}
    (container,) = pod_specs([only(listed, "StatefulSet")])[0]["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == ports
    allowed = only(listed, "NetworkPolicy", "-gateway")["spec"]["ingress"]
    assert [port["port"] for rule in allowed for port in rule["ports"]] == ["otlp-http", "metrics"]


def test_the_pod_has_time_to_drain() -> None:
    """The kubelet waits for preStop, the drain, and three seconds more."""
    listed = rendered({"gateway": {"config": {"shutdown_seconds": 45.5}}})
    spec = pod_specs([only(listed, "StatefulSet")])[0]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= pause + 45.5 + 3
    # Kubernetes 1.29 refuses the action unless a feature gate is set.
    older = pod_specs([only(rendered({}, kubernetes="1.29"), "StatefulSet")])[0]
    assert "lifecycle" not in older["containers"][0]


def test_who_scales_sets_the_number() -> None:
    """A number in the workload would be set back by every upgrade."""
    assert only(rendered({}), "StatefulSet")["spec"]["replicas"] == 1
    scaled = rendered(CASES["scaled by CPU"])
    assert "replicas" not in only(scaled, "StatefulSet")["spec"]
    assert only(scaled, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "sidelight-gateway",
    }  # fmt: skip
    by_keda = rendered(CASES["scaled by KEDA"])
    assert only(by_keda, "ScaledObject")["spec"]["scaleTargetRef"]["kind"] == "Deployment"
    assert "replicas" not in only(by_keda, "Deployment", "-gateway")["spec"]


@pytest.mark.parametrize("environment", ["helm-4", "helm-3"])
@pytest.mark.parametrize("case", ["scaled by CPU", "scaled by KEDA"])
def test_turning_a_scaler_on_keeps_the_pods(case: str, environment: str) -> None:
    """Helm would take the number out, and Kubernetes would put in 1 until the scaler acts."""
    values = {**CASES[case], "injection": {"mode": "none"}, "monitoring": {"mode": "never"}}
    objects_before = rendered(values, environment=environment)
    scaler = "ScaledObject" if "KEDA" in case else "HorizontalPodAutoscaler"
    kind = only(objects_before, scaler)["spec"]["scaleTargetRef"]["kind"]
    present = only(objects_before, kind, "-gateway")
    assert "replicas" not in present["spec"]
    release = {"release-name": "sidelight", "release-namespace": "observability"}
    owned = {f"meta.helm.sh/{name}": value for name, value in release.items()}
    running = {
        **present,
        "metadata": {**present["metadata"], "annotations": owned},
        "spec": {**present["spec"], "replicas": 3},
    }
    with answering_cluster(objects_before, [running]) as cluster:
        text = helm(
            "template", "sidelight", CHART, "--namespace", "observability",
            "--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", cluster,
            "--values", "-",
            environment=environment,
            stdin=json.dumps(values),
        )  # fmt: skip
    assert only(objects(text), kind, "-gateway")["spec"]["replicas"] == 3


def test_kubectl_reads_all_objects() -> None:
    """The real client takes them apart without a cluster."""
    listed = rendered({})
    text = "\n---\n".join(map(json.dumps, listed))
    done = subprocess.run(
        [tool("kubectl"), "label", "--local", "-f", "-", "a=b", "-o", "name"],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(listed)


def test_dashboards_are_the_generated_ones() -> None:
    """What Grafana would import, in ConfigMaps that its sidecar finds."""
    values = {"monitoring": {"dashboards": {"namespace": "grafana", "folder": "LLM"}}}
    boards = {
        name: json.loads(text)
        for one in rendered(values)
        if one["kind"] == "ConfigMap" and one["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in one["data"].items()
        if one["metadata"]["namespace"] == "grafana"
        if one["metadata"]["annotations"] == {"grafana_folder": "LLM"}
    }
    generated = sorted((ROOT / "dashboards" / "generated").glob("*.json"))
    assert boards == {file.name: json.loads(file.read_text()) for file in generated}


def test_the_test_pod_gets_through() -> None:
    """Also where few others may send; and a list without peers keeps nobody out."""
    listed = rendered(CASES["closed network"])
    rules = only(listed, "NetworkPolicy", "-gateway")["spec"]["ingress"]
    labels = only(listed, "Pod", "-doctor")["metadata"]["labels"]
    allowed = [
        peer["podSelector"]["matchLabels"]
        for peer in rules[0]["from"]
        if len(peer) == 1 and "podSelector" in peer
    ]
    assert any(selector.items() <= labels.items() for selector in allowed)
    open_to_all = rendered({"gateway": {"networkPolicy": {"from": []}}})
    assert "from" not in only(open_to_all, "NetworkPolicy", "-gateway")["spec"]["ingress"][0]
