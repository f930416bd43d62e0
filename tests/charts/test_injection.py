"""What the chart injects, by policy and by webhook: the same as `sidelight.injection` says."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml

from sidelight import conventions as names
from sidelight.injection import policy
from sidelight.injection.mutation import inject
from sidelight.injection.settings import InjectionSettings
from support import admission_policy
from support.chart_values import CASES, made
from support.collector import Collector
from support.collector import settings as collector_settings
from support.commands import command
from support.helm import POLICY_API, HelmError, Object, only, rendered
from support.injection_settings import default_settings
from support.kubernetes_schemas import faults
from support.otlp_requests import span, traces
from support.otlp_store import OtlpStore
from support.paths import TESTS
from support.pods import pods_of
from support.typed_cel import types_of_policy
from support.waiting import eventually

pytestmark = [pytest.mark.real("helm-4"), pytest.mark.usefixtures("renderings")]

MANIFESTS = sorted((TESTS / "injection" / "manifests").glob("*.yaml"))
INJECTING = [
    name for name in CASES if CASES[name].get("injection", {}).get("mode", "auto") != "none"
]
INJECT = "sidelight.dev/inject"


def _by_webhook(objects: list[Object]) -> dict[str, Any]:
    """The settings that the injector reads."""
    text = only(objects, "ConfigMap", "-injection")["data"]["injection.yaml"]
    settings: dict[str, Any] = yaml.safe_load(text)
    return settings


def _by_policy(objects: list[Object]) -> tuple[Object, dict[str, Any]]:
    """The policy, and the settings in it as CEL has them."""
    rules = only(objects, "MutatingAdmissionPolicy")
    variables = {one["name"]: one["expression"] for one in rules["spec"]["variables"]}
    settings: dict[str, Any] = json.loads(json.dumps(cel.evaluate(variables["settings"], {})))
    return rules, settings


@pytest.mark.parametrize("case", INJECTING)
def test_both_ways_inject_the_same(case: str) -> None:
    """The settings are those that the package reads; the two differ in the volume alone."""
    by_webhook = _by_webhook(made(case, "webhook"))
    rules, by_policy = _by_policy(made(case))
    settings = InjectionSettings.model_validate(by_policy)
    assert settings.as_objects() == by_policy
    if CASES[case].get("injection", {}).get("volume", "auto") == "auto":
        assert (by_policy.pop("volume"), by_webhook.pop("volume")) == ("image", "copy")
    assert by_policy == by_webhook
    # All but the settings is as the package has it.
    expected = policy.policy(settings)["spec"]
    assert [one for one in rules["spec"]["variables"] if one["name"] != "settings"] == [
        one for one in expected["variables"] if one["name"] != "settings"
    ]
    for key in ("matchConditions", "mutations", "matchConstraints", "failurePolicy"):
        assert rules["spec"][key] == expected[key]


def test_an_api_server_compiles_it() -> None:
    """With the chart's settings in it, the types are right."""
    rules, _ = _by_policy(made("another injection"))
    types = types_of_policy(rules)
    assert (types["settings"], types["mutation"]) == ("MAP<STRING, DYN>", "LIST<JSONPatch>")


def test_items_of_literals_are_of_no_type() -> None:
    """An API server refuses maps and lists whose items differ in type, unless they are `dyn`."""
    rules, _ = _by_policy(made("another injection"))
    (literal,) = (
        one["expression"] for one in rules["spec"]["variables"] if one["name"] == "settings"
    )
    without_texts = re.sub(r'"(?:[^"\\]|\\.)*"', '""', literal)
    assert without_texts.count("dyn(") > 100
    for bare in (r": (?!dyn\()", r"\[(?!dyn\(|\])", r', (?!dyn\(|"": )'):
        assert re.search(bare, without_texts) is None


def test_the_defaults_are_those_of_the_package() -> None:
    """`sidelight inject` without settings and the chart without values differ in the address."""
    of_chart, of_package = (
        _by_webhook(rendered({}, kubernetes="1.32")),
        default_settings().as_objects(),
    )
    addresses = []
    for settings in (of_chart, of_package):
        for variable in settings["sidecar"]["env"]:
            if variable["name"] == "SIDELIGHT_DESTINATIONS":
                (destination,) = json.loads(variable.pop("value"))
                addresses.append(destination.pop("url"))
                assert destination == {"name": "gateway", "type": "otlp_http"}
    assert of_chart == of_package
    assert addresses[0] == addresses[1].replace(".sidelight.svc", ".observability.svc")


def _sidecar_variables(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The environment of the sidecar that both ways inject."""
    objects = rendered({"injection": {"mode": "webhook", **values}})
    variables: list[dict[str, Any]] = _by_webhook(objects)["sidecar"]["env"]
    return variables


def test_sidecars_bring_a_token_of_their_namespace() -> None:
    """As a header of the gateway; a pod starts without the Secret, and no token is in the chart."""
    variables = _sidecar_variables({"token": {"existingSecret": "own", "key": "gateway"}})
    names = [variable["name"] for variable in variables]
    # Kubernetes expands only variables that come before.
    assert names.index("SIDELIGHT_GATEWAY_TOKEN") < names.index("SIDELIGHT_GATEWAY_AUTHORIZATION")
    by_name = {variable["name"]: variable for variable in variables}
    assert by_name["SIDELIGHT_GATEWAY_TOKEN"]["valueFrom"] == {
        "secretKeyRef": {"name": "own", "key": "gateway", "optional": True}
    }
    header = by_name["SIDELIGHT_GATEWAY_AUTHORIZATION"]
    assert header["value"] == "Bearer $(SIDELIGHT_GATEWAY_TOKEN)"
    (destination,) = json.loads(by_name["SIDELIGHT_DESTINATIONS"]["value"])
    assert destination["headers"] == {"Authorization": {"env": header["name"]}}


def test_a_gateway_takes_what_its_sidecars_send(tmp_path: Path) -> None:
    """A real collector with tokens: the sidecar's spans arrive with the tenant of its namespace."""
    token = "0123456789abcdef0123456789abcdef"
    tokens = {"tokens": [{"env": "TEAM_A", "tenant": "team-a"}]}
    with OtlpStore() as store:
        config = collector_settings(
            tmp_path / "gateway", destinations=[store.destination()], auth=tokens
        )
        with Collector(config, tmp_path / "gateway", env={"TEAM_A": token}) as gateway:
            values = {"token": {"existingSecret": "own"}, "endpoint": gateway.url}
            variables = {one["name"]: one.get("value", "") for one in _sidecar_variables(values)}
            sidecar = collector_settings(
                tmp_path / "sidecar",
                destinations=json.loads(variables["SIDELIGHT_DESTINATIONS"]),
            )
            # What the kubelet makes of it.
            header = variables["SIDELIGHT_GATEWAY_AUTHORIZATION"].replace(
                "$(SIDELIGHT_GATEWAY_TOKEN)", token
            )
            env = {"SIDELIGHT_GATEWAY_AUTHORIZATION": header}
            with Collector(sidecar, tmp_path / "sidecar", env=env) as collector:
                body = gzip.decompress(traces([span("from team a")]).payload)
                assert collector.post(body)[0] == 200
                [(resource, _, arrived)] = eventually(lambda: list(store.with_origin()))
    assert arrived.name == "from team a"
    tenants = {pair.key: pair.value.string_value for pair in resource.attributes}
    assert tenants[names.TENANT] == "team-a"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_policy_injects_as_python_does(path: Path) -> None:
    """The rendered policy, evaluated for the pods of every platform."""
    rules, by_policy = _by_policy(made("another injection"))
    settings = InjectionSettings.model_validate(by_policy)
    for document in yaml.safe_load_all(path.read_text()):
        for pod in pods_of(document):
            for labels in ({}, {INJECT: "true"}):
                decision = inject(pod, settings, namespace_labels=labels)
                operations = [operation.as_json() for operation in decision.operations]
                assert (admission_policy.patch(rules, pod, labels) or []) == operations


@pytest.mark.parametrize(
    ("kubernetes", "apis", "mode", "expected"),
    [
        ("1.29", [], "auto", "webhook"),
        ("1.32", [], "auto", "webhook"),
        ("1.36", [POLICY_API], "auto", "policy"),
        ("1.37", [POLICY_API], "auto", "policy"),
        # A cluster that was told not to serve it, and one whose users want the webhook.
        ("1.37", [], "auto", "webhook"),
        ("1.37", [POLICY_API], "webhook", "webhook"),
        ("1.36", [], "policy", "policy"),
        ("1.37", [POLICY_API], "none", "none"),
    ],
)
def test_the_way_follows_the_cluster(
    kubernetes: str, apis: list[str], mode: str, expected: str
) -> None:
    """By the API versions that are served, and valid in that version."""
    objects = rendered({"injection": {"mode": mode}}, kubernetes=kubernetes, apis=apis)
    assert faults(objects, kubernetes) == []
    kinds = {one["kind"] for one in objects}
    assert ("MutatingAdmissionPolicy" in kinds) == (expected == "policy")
    assert ("MutatingAdmissionPolicyBinding" in kinds) == (expected == "policy")
    # The policy needs no pod, no certificate and no right.
    for kind in ("MutatingWebhookConfiguration", "Deployment", "ClusterRole", "Secret"):
        assert (kind in kinds) == (expected == "webhook")


@pytest.mark.parametrize("namespace", ["true", "false", None])
@pytest.mark.parametrize("label", ["true", "false", "yes", None])
@pytest.mark.parametrize("annotation", ["true", "false", "yes", None])
def test_the_injector_is_asked_of_pods_that_ask(
    namespace: str | None, label: str | None, annotation: str | None
) -> None:
    """Once, and never of a pod that it would leave alone because nobody asked."""
    pod: dict[str, Any] = {
        "metadata": {},
        "spec": {"containers": [{"name": "vllm", "image": "vllm/vllm-openai:v0.33.0"}]},
    }
    if label is not None:
        pod["metadata"]["labels"] = {INJECT: label}
    if annotation is not None:
        pod["metadata"]["annotations"] = {INJECT: annotation}
    labels = {} if namespace is None else {INJECT: namespace}
    configuration = only(rendered({}, kubernetes="1.32"), "MutatingWebhookConfiguration")
    asked = [
        webhook["clientConfig"]["service"]["path"]
        for webhook in configuration["webhooks"]
        if _selects(webhook["namespaceSelector"], labels)
        and all(
            cel.evaluate(one["expression"], {"object": pod}) for one in webhook["matchConditions"]
        )
    ]
    decision = inject(pod, default_settings(), namespace_labels=labels)
    expected = "/inject/namespace" if namespace == "true" else "/inject"
    assert asked == ([expected] if decision.operations else [])


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    named = {"kubernetes.io/metadata.name": "serving", **labels}
    return all(
        (named.get(one["key"]) in one["values"]) == (one["operator"] == "In")
        for one in selector["matchExpressions"]
    )


def test_the_injector_cannot_block_pods() -> None:
    """Whatever happens to it; and a dry run, which writes no Event, is answered."""
    for case in INJECTING:
        objects = made(case, "webhook")
        for webhook in only(objects, "MutatingWebhookConfiguration")["webhooks"]:
            assert webhook["failurePolicy"] == "Ignore"
            assert webhook["timeoutSeconds"] <= 5
            assert webhook["sideEffects"] in ("None", "NoneOnDryRun")
            assert webhook["reinvocationPolicy"] == "IfNeeded"
            assert webhook["rules"] == [
                {
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["pods"], "scope": "Namespaced",
                }
            ]  # fmt: skip


def test_the_injector_has_all_its_options(tmp_path: Path) -> None:
    """The real command knows what it is started with."""
    for case in ("defaults", "another injection", "a supplied certificate"):
        objects = made(case, "webhook")
        spec = only(objects, "Deployment", "-injector")["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        # Options are read before --help is answered.
        done = command(*container["args"], "--help", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_rights_are_the_least() -> None:
    """By name wherever Kubernetes can; no Secret can be made, no pod read."""
    objects = rendered({}, kubernetes="1.32")
    (role,), (cluster_role,) = (
        [one for one in objects if one["kind"] == kind] for kind in ("Role", "ClusterRole")
    )
    assert role["rules"] == [
        {
            "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "update"],
            "resourceNames": ["sidelight-injector-tls"],
        }
    ]  # fmt: skip
    assert cluster_role["rules"] == [
        {
            "apiGroups": ["admissionregistration.k8s.io"], "verbs": ["get", "patch"],
            "resources": ["mutatingwebhookconfigurations"], "resourceNames": ["sidelight-injector"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]  # fmt: skip
    # With certificates from elsewhere and without Events it needs no right, and gets no token.
    quiet = made("another injection", "webhook")
    assert not {one["kind"] for one in quiet} & {"Role", "ClusterRole", "RoleBinding"}
    spec = only(quiet, "Deployment", "-injector")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False


def test_certificates_outlive_upgrades() -> None:
    """Helm writes neither the certificate nor the authority: it would set them back."""
    objects = rendered({}, kubernetes="1.32")
    assert only(objects, "Secret").keys() == {"apiVersion", "kind", "metadata", "type"}
    for webhook in only(objects, "MutatingWebhookConfiguration")["webhooks"]:
        assert webhook["clientConfig"].keys() == {"service"}
    supplied = made("a supplied certificate", "webhook")
    for webhook in only(supplied, "MutatingWebhookConfiguration")["webhooks"]:
        bundle = base64.b64decode(webhook["clientConfig"]["caBundle"]).decode()
        assert bundle.startswith("-----BEGIN CERTIFICATE-----")
    issued = made("an issuer of the cluster", "webhook")
    (certificate,) = (one for one in issued if one["kind"] == "Certificate")
    assert certificate["spec"]["issuerRef"]["name"] == "corporate"
    configuration = only(issued, "MutatingWebhookConfiguration")["metadata"]["annotations"]
    namespace, _, name = configuration["cert-manager.io/inject-ca-from"].partition("/")
    assert (namespace, name) == ("observability", certificate["metadata"]["name"])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"gateway": {"enabled": False}}, "set injection.endpoint"),
        (
            {"gateway": {"config": {"receivers": {"otlp_http": {"enabled": False}}}}},
            "enable receivers.otlp_http",
        ),
        (
            {"injection": {"sidecar": {"resources": {"limits": {"memory": "255Mi"}}}}},
            "requests.memory is 256Mi, above its limit of 255Mi; set both",
        ),
        (
            {"injection": {"sidecar": {"resources": {"requests": {"cpu": 1}}}}},
            "requests.cpu is 1, above its limit of 200m; set both",
        ),
        (
            {"injection": {"sidecar": {"resources": {"limits": {"ephemeral-storage": "1Gi"}}}}},
            "would hold for the whole pod",
        ),
        (
            {"injection": {"sidecar": {"resources": {"requests": {"nvidia.com/gpu": 1}}}}},
            "nvidia.com/gpu is not a resource that a sidecar needs",
        ),
        (
            {"injection": {"sidecar": {"resources": {"claims": [{"name": "gpu"}]}}}},
            "claims name devices of a pod",
        ),
        (
            {"injection": {"environment": [{"name": "PYTHONPATH", "value": "/app"}]}},
            "PYTHONPATH is set by injection itself; remove it",
        ),
        (
            {"injection": {"webhook": {"certificates": {"kind": "supplied"}}}},
            "name the Secret in existingSecret",
        ),
        (
            {
                "injection": {
                    "webhook": {"certificates": {"kind": "supplied", "existingSecret": "a"}}
                }
            },
            "set caBundle",
        ),
    ],
)
def test_faults_are_refused(values: dict[str, Any], sentence: str) -> None:
    """With what to do; each would leave pods without Sidelight, or without a start."""
    with pytest.raises(HelmError, match=sentence):
        rendered(values)


def test_no_cluster_gets_volumes_that_it_does_not_know() -> None:
    """It would drop the field and refuse the pod."""
    volumes = {"volume": "image"}
    for kubernetes, expected in (("1.29", "copy"), ("1.35", "copy"), ("1.36", "image")):
        assert _by_webhook(rendered({}, kubernetes=kubernetes))["volume"] == expected
    assert _by_webhook(rendered({"injection": volumes}, kubernetes="1.34"))["volume"] == "image"
    with pytest.raises(HelmError, match=r"set injection\.volume to copy"):
        rendered({"injection": volumes}, kubernetes="1.32")
