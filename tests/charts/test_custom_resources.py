"""Objects of Prometheus Operator, KEDA and cert-manager against the types and schemas of those.

The schemas find values that are wrong, the TypeScript types keys that are unknown: those an API
server drops without a word.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support.chart_values import made
from support.commands import command
from support.helm import OPERATOR_API, Object, only, rendered
from support.kubernetes_schemas import CUSTOM_APIS
from support.node import typescript
from support.node.packages import NodeError, packages, run
from support.paths import TESTS
from support.waiting import waiting_for

pytestmark = [pytest.mark.real("node", "helm-4"), pytest.mark.usefixtures("renderings")]

_FOLDER = TESTS / "support" / "node" / "kubernetes_models"
_MODULES = {
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
    "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
}
_CASES = (
    "everything configured",
    "scaled by KEDA",
    "another injection",
    "an issuer of the cluster",
)
KINDS = {"Certificate", "Issuer", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor"}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[Object]], str]:
    """What types and schemas say against objects; empty if nothing."""
    with waiting_for("the types of custom resources from npm"):
        installed = packages(_FOLDER / "package.json")
    folder = tmp_path_factory.mktemp("models")
    (folder / "node_modules").symlink_to(installed / "node_modules")
    shutil.copy(_FOLDER / "validate.mjs", folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def check(objects: list[Object]) -> str:
        (folder / "objects.json").write_text(json.dumps(objects))
        lines = [
            f"import type {{ I{kind} }} from '{_MODULES[api]}/{kind}';"
            for api, kind in sorted({(one["apiVersion"], one["kind"]) for one in objects})
        ]
        lines += [
            f"export const object{number}: I{one['kind']} = {json.dumps(one)};"
            for number, one in enumerate(objects)
        ]
        (folder / "objects.ts").write_text("\n".join(lines))
        said = list(typescript.complaints(folder, ["objects.ts"]).values())
        try:
            run(["node", "validate.mjs", "objects.json"], folder)
        except NodeError as error:
            said.append(str(error))
        return "\n".join(said)

    return check


@pytest.fixture(scope="module")
def custom() -> list[Object]:
    """Every custom resource that the chart can make, once for each form."""
    listed = [
        one
        for case in _CASES
        for one in (*made(case, "webhook"), *made(case))
        if one["apiVersion"] in CUSTOM_APIS
    ]
    return list({json.dumps(one["spec"], sort_keys=True): one for one in listed}.values())


def test_all_are_valid(complaints: Callable[[list[Object]], str], custom: list[Object]) -> None:
    """No unknown key, no wrong value."""
    assert {one["kind"] for one in custom} == KINDS
    assert complaints(custom) == ""


def test_faults_are_found(complaints: Callable[[list[Object]], str], custom: list[Object]) -> None:
    """Unknown keys, and a wrong value."""
    by_kind = {one["kind"]: copy.deepcopy(one) for one in custom}
    by_kind["ServiceMonitor"]["spec"]["endpoints"][0]["honourLabels"] = True
    by_kind["ScaledObject"]["spec"]["minReplicas"] = 1
    by_kind["Certificate"]["spec"]["dnsName"] = "x"
    by_kind["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["interval"] = "often"
    said = complaints(list(by_kind.values()))
    assert all(key in said for key in ("honourLabels", "minReplicas", "dnsName", "PodMonitor"))


def test_alerts_are_the_generated_ones(tmp_path: Path) -> None:
    """With the addresses of Grafana and of the docs, as `sidelight dashboards write` puts them."""
    addresses = ("https://grafana.example.com/", "https://docs.example.com")
    options = ("--grafana", addresses[0], "--docs", addresses[1])
    done = command("dashboards", "write", tmp_path, *options, cwd=tmp_path)
    assert done.returncode == 0
    written = yaml.safe_load((tmp_path / "sidelight-prometheusrule.yaml").read_text())
    values = {
        "prometheusRule": {"grafanaUrl": addresses[0], "docsUrl": addresses[1]},
        "labels": {"release": "kube-prometheus-stack"},
    }
    rule = only(rendered({"monitoring": values}, apis=[OPERATOR_API]), "PrometheusRule")
    assert rule["spec"] == written["spec"]
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    fewer = {"prometheusRule": {"exclude": ["SidelightEngineStalled"]}}
    rule = only(rendered({"monitoring": fewer}, apis=[OPERATOR_API]), "PrometheusRule")
    names = {one.get("alert") for group in rule["spec"]["groups"] for one in group["rules"]}
    assert "SidelightEngineStalled" not in names
    assert len(names) > 20
