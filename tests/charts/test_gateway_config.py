"""The gateway's sidelight.yaml: checked by the collector itself, and started for real."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.chart_values import CASES, LANGFUSE_PROJECTS, made
from support.collector import Collector
from support.commands import command
from support.helm import Object, only, rendered
from support.langfuse import LangfuseStandIn
from support.otlp_requests import span
from support.ports import free_port
from support.rendered_gateway import place
from support.waiting import eventually

pytestmark = [pytest.mark.real("helm-4"), pytest.mark.usefixtures("renderings")]

# As OpenShift gives them: a user id of the namespace's range, the root group, and an fsGroup.
_RANDOM_UID = 1_000_660_000
# It may read everything, because this Python may lie in a closed folder, and write only its own.
_AS_RANDOM_UID = (
    "setpriv", "--pdeathsig", "KILL", "--reuid", str(_RANDOM_UID), "--regid", "0",
    "--groups", str(_RANDOM_UID), "--inh-caps", "+dac_read_search",
    "--ambient-caps", "+dac_read_search",
)  # fmt: skip


@pytest.mark.parametrize(
    "case", [name for name in CASES if CASES[name].get("gateway", {}).get("enabled", True)]
)
def test_the_collector_finds_no_fault(case: str, tmp_path: Path) -> None:
    """`sidelight config check` on the file, with all secrets that it refers to in place."""
    gateway = place(made(case), tmp_path)
    done = command("config", "check", "-c", gateway.file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_projects_of_langfuse_get_their_own(tmp_path: Path) -> None:
    """Spans of a namespace reach the project whose keys its route refers to, under a random uid."""
    if os.geteuid() or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv of util-linux")
    with LangfuseStandIn("pk-shared", "sk-shared") as shared, LangfuseStandIn("pk-a", "sk-a") as a:
        destination = {
            **LANGFUSE_PROJECTS,
            "url": shared.url,
            "routes": [{**LANGFUSE_PROJECTS["routes"][0], "url": a.url}],
        }
        ports = {name: {"port": free_port()} for name in ("otlp_http", "otlp_grpc", "serve")}
        config = {
            "destinations": [destination],
            "receivers": {name: ports[name] for name in ("otlp_http", "otlp_grpc")},
            "serve": ports["serve"],
        }
        objects = rendered({"gateway": {"config": config}}, apis=("security.openshift.io/v1",))
        secrets = {
            (f"langfuse-{project}", f"{half}-key"): f"{half[0]}k-{short}"
            for project, short in (("shared", "shared"), ("team-a", "a"))
            for half in ("public", "secret")
        }
        gateway = place(objects, tmp_path, secrets)
        _belongs_to_group(gateway.volume, _RANDOM_UID)
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755)
        with Collector(
            gateway.config,
            tmp_path,
            command=(*_AS_RANDOM_UID, sys.executable, "-m", "sidelight.collector"),
        ) as collector:
            ours, theirs = span("ours"), span("theirs")
            for sent, namespace in ((ours, "team-a"), (theirs, "elsewhere")):
                assert collector.post(_request(sent, namespace))[0] == 200
            eventually(lambda: a.rows and shared.rows)
            # A span whose answer was late is sent again.
            assert set(a.span_ids()) == {ours.span_id.hex()}
            assert set(shared.span_ids()) == {theirs.span_id.hex()}
            assert collector.get("/readyz")[0] == 200
            assert collector.terminate() == 0


def _request(sent: Any, namespace: str) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="k8s.namespace.name").value.string_value = namespace
    resource.scope_spans.add().spans.append(sent)
    return request.SerializeToString()


def _belongs_to_group(volume: Path, group: int) -> None:
    """What the kubelet does to a volume for fsGroup."""
    os.chown(volume, 0, group)
    volume.chmod(0o2775)


def test_the_log_stays_below_its_volume() -> None:
    """Whatever the size: an emptyDir that outgrows its limit evicts the pod."""
    for size, size_bytes in (
        ("3Mi", 3 << 20),
        ("1Gi", 1 << 30),
        ("1.5Ti", 3 << 39),
        ("20G", 20 * 10**9),
        ("5000000", 5_000_000),
    ):
        log = _config({"gateway": {"persistence": {"size": size}}})["log"]
        assert log["max_bytes"] + log["segment_bytes"] <= 0.9 * size_bytes
        assert log["keep_bytes"] <= log["max_bytes"] / 8
        assert log["max_bytes"] > 0.79 * size_bytes


def test_no_secret_is_a_value() -> None:
    """Every secret of the configuration is a file of a Secret, mounted once, read-only."""
    objects = made("everything configured")
    config = only(objects, "ConfigMap", "-gateway")["data"]["sidelight.yaml"]
    assert "existingSecret" not in config
    (pod,) = (one for one in objects if one["kind"] == "StatefulSet")
    spec = pod["spec"]["template"]["spec"]
    (volume,) = (one for one in spec["volumes"] if "projected" in one)
    items = [
        (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        if "secret" in source
        for item in source["secret"]["items"]
    ]
    assert len(items) == len(set(items))
    assert {("tokens", "metrics"), ("langfuse-team-b", "secret-key"), ("hash", "key")} <= set(items)
    assert not any(one["kind"] == "Secret" and one.get("data") for one in objects)
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["references"]["readOnly"]
    assert mounts["config"]["readOnly"]


def test_another_configuration_restarts_the_pods() -> None:
    """The pod template changes with the configuration, and with nothing else."""

    def checksum(values: dict[str, Any]) -> str:
        template: Object = only(rendered(values), "StatefulSet")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    changed = {"gateway": {"config": {"log": {"dedupe_seconds": 5}}}}
    assert checksum({}) == checksum({"gateway": {"replicas": 2}}) != checksum(changed)


def _config(values: dict[str, Any]) -> dict[str, Any]:
    text = only(rendered(values), "ConfigMap", "-gateway")["data"]["sidelight.yaml"]
    config: dict[str, Any] = yaml.safe_load(text)
    return config
