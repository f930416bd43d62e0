"""What injection decides about single pods."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.injection.decision import Reason
from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from support.any_pods import NAMESPACE_LABELS, PODS
from support.injection_settings import default_settings

VLLM = {"name": "vllm", "image": "vllm/vllm-openai:v0.33.0"}
PLAIN = {"name": "server", "image": "registry.example.com/llm:1"}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A pod that asks for injection."""
    labels = {"sidelight.dev/inject": "true"}
    return {"metadata": {"labels": labels}, "spec": {"containers": list(containers), **spec}}


def reason(source: dict[str, Any], **namespace_labels: str) -> Reason:
    """The reason of the decision."""
    return inject(source, default_settings(), namespace_labels=namespace_labels).reason


def injected(source: dict[str, Any]) -> dict[str, Any]:
    """The pod after injection, which must succeed."""
    decision = inject(source, default_settings())
    assert decision.reason is Reason.INJECTED
    return apply(source, decision.operations)


class TestWhoAsks:
    """Annotation before label, label before namespace."""

    @pytest.mark.parametrize(
        ("annotation", "label", "namespace", "expected"),
        [
            (None, None, None, Reason.NOT_ASKED),
            (None, None, "true", Reason.INJECTED),
            (None, None, "false", Reason.NOT_ASKED),
            (None, "true", None, Reason.INJECTED),
            (None, "true", "false", Reason.INJECTED),
            (None, "false", "true", Reason.OPTED_OUT),
            (None, "enabled", "true", Reason.NOT_ASKED),
            ("true", None, None, Reason.INJECTED),
            ("true", "false", None, Reason.INJECTED),
            ("false", "true", "true", Reason.OPTED_OUT),
        ],
    )
    def test_order(
        self, annotation: str | None, label: str | None, namespace: str | None, expected: Reason
    ) -> None:
        """Each place that says something wins over those after it."""
        key = "sidelight.dev/inject"
        source = {
            "metadata": {
                "annotations": {key: annotation} if annotation else {},
                "labels": {key: label} if label else {},
            },
            "spec": {"containers": [VLLM]},
        }
        labels = {key: namespace} if namespace else {}
        assert inject(source, default_settings(), namespace_labels=labels).reason is expected


class TestWhichContainer:
    """The one that runs vLLM by command, args or image."""

    @pytest.mark.parametrize(
        "words",
        [
            {"command": ["vllm", "serve", "m"]},
            {"command": ["vllm"], "args": ["serve", "m"]},
            {"args": ["/opt/venv/bin/vllm", "serve", "m"]},
            {"command": ["sh", "-c", "exec vllm serve m --port 8000"]},
            {"command": ["bash", "-c"], "args": ["set -e\nsource x && vllm  serve m"]},
            {"command": ["bash", "-c", 'eval "vllm serve m"']},
            {"command": ["python3", "-m", "vllm.entrypoints.openai.api_server"]},
            {"args": ["python -m vllm.entrypoints.openai.api_server --model m"]},
            {"command": ["python3", "/vllm/entrypoints/openai/api_server.py"]},
        ],
    )
    def test_command_and_args(self, words: dict[str, list[str]]) -> None:
        """In every form that a server is started in."""
        assert reason(pod({"name": "log", "image": "nginx"}, {**PLAIN, **words})) is Reason.INJECTED

    @pytest.mark.parametrize(
        "words",
        [
            {"command": ["vllm", "bench", "serve"]},
            {"command": ["sh", "-c", "vllm bench serve"]},
            {"args": ["--backend", "vllm"]},
            {"args": ["--label", "app=vllm", "--path", "/vllm/"]},
            {"command": ["novllm", "serve"]},
            {},
        ],
    )
    def test_what_only_names_vllm(self, words: dict[str, list[str]]) -> None:
        """A client, a router or a benchmark is not a server."""
        assert reason(pod({**PLAIN, **words})) is Reason.NO_VLLM_CONTAINER

    @pytest.mark.parametrize(
        "image",
        [
            "vllm/vllm-openai",
            "vllm/vllm-openai:v0.33.0@sha256:0123",
            "vllm/vllm-openai:v0.33.0-client",
            "registry:5000/team/vllm:0.33-bench",
            "localhost:5000/team/vllm",
            "public.ecr.aws/q9t5s3a7/vllm-release-repo:1",
            "rocm/vllm-dev:nightly",
        ],
    )
    def test_image(self, image: str) -> None:
        """The last part of its name says vLLM."""
        assert reason(pod({"name": "a", "image": image})) is Reason.INJECTED

    @pytest.mark.parametrize(
        "image",
        [
            "vllm.example.com/nginx",
            "vllm:5000/nginx",
            "nginx:vllm",
            "vllm/router",
            "lmcache/vllm-router:1",
            "x/vllm-exporter",
            "x/vllm-benchmark:1",
        ],
    )
    def test_other_image(self, image: str) -> None:
        """A registry, a tag, or a tool for vLLM."""
        assert reason(pod({"name": "a", "image": image})) is Reason.NO_VLLM_CONTAINER

    def test_the_surest_sign_counts(self) -> None:
        """A command before an image, an image with its own command before one with another."""
        serving = {**PLAIN, "name": "b", "command": ["vllm", "serve", "m"]}
        script = {**VLLM, "name": "c", "command": ["sleep", "1"]}
        for containers, expected in (
            ((VLLM, script, serving), 2),
            ((script, VLLM), 1),
            ((PLAIN, script), 1),
        ):
            mounted = [
                "volumeMounts" in item for item in injected(pod(*containers))["spec"]["containers"]
            ]
            assert mounted.index(True) == expected
            assert mounted.count(True) == 1

    def test_init_containers_never(self) -> None:
        """Neither one that ends nor a sidecar."""
        source = pod(PLAIN, initContainers=[VLLM, {**VLLM, "name": "b", "restartPolicy": "Always"}])
        assert reason(source) is Reason.NO_VLLM_CONTAINER


class TestPythonPath:
    """The pod's own folders come first, wherever they are from."""

    def environment(self, container: dict[str, Any], **annotations: str) -> list[dict[str, Any]]:
        source = pod({**VLLM, **container})
        source["metadata"]["annotations"] = annotations
        variables: list[dict[str, Any]] = injected(source)["spec"]["containers"][0]["env"]
        return [item for item in variables if "PYTHON" in item["name"]]

    def test_alone(self) -> None:
        """Only our folder."""
        assert self.environment({}) == [{"name": "PYTHONPATH", "value": "/sidelight/path"}]

    @pytest.mark.parametrize(("own", "expected"), [("/a:/b", "/a:/b:"), ("", "")])
    def test_value(self, own: str, expected: str) -> None:
        """In the same place of the list, because later variables may refer to it."""
        variables = [{"name": "PYTHONPATH", "value": own}, {"name": "B", "value": "$(PYTHONPATH)"}]
        extended = self.environment({"env": variables})
        assert extended == [{"name": "PYTHONPATH", "value": f"{expected}/sidelight/path"}]

    def test_source(self) -> None:
        """The kubelet reads it into a variable before, which ours refers to."""
        source = {"configMapKeyRef": {"name": "a", "key": "b"}}
        assert self.environment({"env": [{"name": "PYTHONPATH", "valueFrom": source}]}) == [
            {"name": "SIDELIGHT_PYTHON_PATH", "valueFrom": source},
            {"name": "PYTHONPATH", "value": "$(SIDELIGHT_PYTHON_PATH):/sidelight/path"},
        ]

    def test_a_whole_config_map(self) -> None:
        """The kubelet expands what is in it; without it, the reference names no folder."""
        container = {"envFrom": [{"configMapRef": {"name": "a"}}]}
        assert self.environment(container) == [
            {"name": "PYTHONPATH", "value": "$(PYTHONPATH):/sidelight/path"}
        ]

    def test_of_the_image(self) -> None:
        """The annotation gives it; the pod's own variable would replace it anyway."""
        annotation = {"sidelight.dev/python-path": "/app"}
        assert self.environment({}, **annotation)[0]["value"] == "/app:/sidelight/path"
        own = {"env": [{"name": "PYTHONPATH", "value": "/own"}]}
        assert self.environment(own, **annotation)[0]["value"] == "/own:/sidelight/path"

    @pytest.mark.parametrize("image", ["quay.io/ascend/vllm-ascend:v1", "x/vllm-gaudi"])
    def test_images_that_set_it(self, image: str) -> None:
        """Left alone until the annotation says what they set, be it nothing."""
        source = pod({"name": "a", "image": image})
        assert reason(source) is Reason.IMAGE_PYTHON_PATH
        source["metadata"]["annotations"] = {"sidelight.dev/python-path": ""}
        assert reason(source) is Reason.INJECTED

    def test_doubt(self) -> None:
        """Twice, or from what may be missing: the pod runs as before."""
        optional = {"secretKeyRef": {"name": "a", "key": "b", "optional": True}}
        for variables in (
            [{"name": "PYTHONPATH", "value": "/a"}] * 2,
            [{"name": "PYTHONPATH", "valueFrom": optional}],
        ):
            assert reason(pod({**VLLM, "env": variables})) is Reason.PYTHON_PATH_UNKNOWN


class TestLeftAlone:
    """Pods that could break."""

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ({"hostNetwork": True}, Reason.HOST_NETWORK),
            ({"os": {"name": "windows"}}, Reason.WINDOWS),
            ({"nodeSelector": {"kubernetes.io/os": "windows"}}, Reason.WINDOWS),
            ({"volumes": [{"name": "sidelight-data"}]}, Reason.NAME_TAKEN),
            ({"initContainers": [{"name": "sidelight-copy"}]}, Reason.NAME_TAKEN),
            ({"ephemeralContainers": [{"name": "sidelight"}]}, Reason.NAME_TAKEN),
            (
                {"initContainers": [{"name": "a", "ports": [{"containerPort": 4317}]}]},
                Reason.INJECTED,
            ),
            (
                {
                    "initContainers": [
                        {"name": "a", "restartPolicy": "Always", "ports": [{"containerPort": 4317}]}
                    ]
                },
                Reason.PORT_TAKEN,
            ),
        ],
    )
    def test_spec(self, spec: dict[str, Any], expected: Reason) -> None:
        """What else is in the pod."""
        assert reason(pod(VLLM, **spec)) is expected

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/sidelight", Reason.MOUNT_PATH_TAKEN),
            ("/sidelight/", Reason.MOUNT_PATH_TAKEN),
            ("/sidelight/path/x", Reason.MOUNT_PATH_TAKEN),
            ("/sidelights", Reason.INJECTED),
            ("/data/sidelight", Reason.INJECTED),
        ],
    )
    def test_mount(self, path: str, expected: Reason) -> None:
        """A volume of the pod's own at our path, or below it."""
        mounts = [{"name": "a", "mountPath": path}]
        assert reason(pod({**VLLM, "volumeMounts": mounts})) is expected

    @pytest.mark.parametrize(
        ("container", "expected"),
        [
            ({"image": "otel/opentelemetry-collector-contrib:1"}, Reason.PORT_TAKEN),
            ({"image": "signoz/signoz-otel-collector"}, Reason.PORT_TAKEN),
            ({"image": "jaegertracing/jaeger:2"}, Reason.PORT_TAKEN),
            ({"image": "a", "args": ["--set=http.endpoint=0.0.0.0:4318"]}, Reason.PORT_TAKEN),
            ({"image": "a", "args": ["--otlp=http://127.0.0.1:4318"]}, Reason.INJECTED),
            ({"image": "a", "args": ["--listen=0.0.0.0:43180"]}, Reason.INJECTED),
            ({"image": "jaegertracing/x/nginx"}, Reason.INJECTED),
        ],
    )
    def test_ports_that_are_not_declared(self, container: dict[str, Any], expected: Reason) -> None:
        """The sidecar would be there first, and the other container would fail."""
        assert reason(pod(VLLM, {"name": "other", **container})) is expected

    def test_static_pods(self) -> None:
        """A mirror of one in the API changes nothing on the node."""
        source = pod(VLLM)
        source["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "0123"}
        assert reason(source) is Reason.STATIC_POD

    def test_an_injected_pod(self) -> None:
        """The API server may ask again after other webhooks."""
        assert reason(injected(pod(VLLM))) is Reason.ALREADY_INJECTED

    def test_more_than_can_be_counted(self) -> None:
        """CEL has no counter, so indices beyond a bound are not looked at."""
        variables = [{"name": f"A{number}", "value": ""} for number in range(257)]
        assert reason(pod({**VLLM, "env": variables})) is Reason.TOO_LARGE

    @pytest.mark.parametrize(
        "source",
        [
            {},
            {"spec": None},
            {"spec": []},
            {"spec": {"containers": "vllm"}},
            {"spec": {"containers": [1]}},
            {"spec": {"containers": [{"name": "a", "args": [1]}]}},
            {"metadata": [], "spec": {"containers": []}},
        ],
    )
    def test_what_is_not_a_pod(self, source: dict[str, Any]) -> None:
        """No exception, and nothing changed."""
        labels = {"sidelight.dev/inject": "true"}
        decision = inject(source, default_settings(), namespace_labels=labels)
        assert decision.operations == ()
        assert decision.reason in (Reason.UNREADABLE, Reason.NO_VLLM_CONTAINER)

    def test_every_reason_says_what_to_do(self) -> None:
        """In a sentence of its own."""
        for item in Reason:
            assert item.sentence.endswith(".")
        assert Reason.HOST_NETWORK.is_in_vain
        assert not Reason.OPTED_OUT.is_in_vain


def test_null_is_absent() -> None:
    """As in manifests, and in pods of some clients."""
    source = pod({**VLLM, "env": None, "volumeMounts": None}, initContainers=None, volumes=None)
    source["metadata"]["annotations"] = None
    spec = injected(source)["spec"]
    assert [item["name"] for item in spec["initContainers"]] == ["sidelight-copy", "sidelight"]


def test_volume() -> None:
    """An image volume needs no init container that copies."""
    decision = inject(pod(VLLM), default_settings().with_volume("image"))
    spec = apply(pod(VLLM), decision.operations)["spec"]
    assert "image" in spec["volumes"][0]
    assert [item["name"] for item in spec["initContainers"]] == ["sidelight"]


def test_a_sidecar_of_a_root_pod_is_not_root() -> None:
    """It must not be root, so the kubelet would not start it."""
    spec = injected(pod(VLLM, securityContext={"runAsUser": 0}))["spec"]
    users = [item["securityContext"]["runAsUser"] for item in spec["initContainers"]]
    assert users == [65532, 65532]
    other = injected(pod(VLLM, securityContext={"runAsUser": 1000}))["spec"]
    assert "runAsUser" not in other["initContainers"][0]["securityContext"]


@given(PODS, NAMESPACE_LABELS, st.sampled_from(["image", "copy"]))
@settings(max_examples=100, deadline=None)
def test_any_pod(source: dict[str, Any], labels: dict[str, str], volume: str) -> None:
    """The pod given stays as it is, the patch applies, and a second time does nothing."""
    before = copy.deepcopy(source)
    options = default_settings().with_volume(volume)
    decision = inject(source, options, namespace_labels=labels)
    assert source == before
    patched = apply(source, decision.operations)
    again = inject(patched, options, namespace_labels=labels)
    assert again.operations == ()
    if decision.operations:
        assert again.reason is Reason.ALREADY_INJECTED


class TestEphemeralStorage:
    """The kubelet evicts a pod that uses more than the sum of its containers' limits."""

    def test_a_pod_without_a_limit_gets_none(self) -> None:
        """Else the sidecar's would be that of vLLM, which may load a model into its container."""
        for container in injected(pod(VLLM))["spec"]["initContainers"]:
            assert "ephemeral-storage" in container["resources"]["requests"]
            assert "ephemeral-storage" not in container["resources"]["limits"]

    def test_a_pod_with_a_limit_keeps_it_for_itself(self) -> None:
        """Injected containers bring what they use."""
        limits = {"limits": {"ephemeral-storage": "100Gi"}}
        for container in injected(pod(VLLM | {"resources": limits}))["spec"]["initContainers"]:
            resources = container["resources"]
            storage = resources["requests"]["ephemeral-storage"]
            assert resources["limits"]["ephemeral-storage"] == storage

    def test_limits_of_the_pod_stay_the_only_ones(self) -> None:
        """With limits of the pod, the injected containers have none."""
        limits = {"limits": {"ephemeral-storage": "100Gi"}}
        source = pod(VLLM | {"resources": limits}, resources={"limits": {"cpu": "8"}})
        for container in injected(source)["spec"]["initContainers"]:
            assert container["resources"] == {}


def test_no_port_of_the_sidecar_is_declared() -> None:
    """Prometheus scrapes each declared port of an annotated pod, and these are on loopback."""
    for container in injected(pod(VLLM))["spec"]["initContainers"]:
        assert "ports" not in container
