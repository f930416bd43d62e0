"""An injected pod, with its containers as processes: copy, sidecar, and a server instead of vLLM.

What runs is what the patched pod says: commands, arguments, environment and volumes. The kubelet's
part is done here: it expands variables, fills in fields of the pod, and mounts volumes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from sidelight.instrumentation.injected import tree
from support.collector import environment
from support.injection import SPANS, start
from support.injection_settings import default_settings
from support.otlp_receiver import OtlpReceiver
from support.paths import ROOT
from support.ports import free_port
from support.waiting import eventually

FIELDS = {
    "metadata.name": "qwen-0",
    "metadata.uid": "0ddba11",
    "metadata.namespace": "serving",
    "spec.nodeName": "gpu-3",
}
POD = {
    "metadata": {"name": "qwen-0", "labels": {"sidelight.dev/inject": "true"}},
    "spec": {
        "containers": [
            {
                "name": "server",
                "image": "vllm/vllm-openai:v0.20.2",
                "command": ["vllm", "serve", "Qwen/Qwen3-0.6B"],
                "env": [{"name": "PYTHONPATH", "value": "/own"}],
            }
        ]
    },
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """Where the pod runs: its folders instead of volumes, and free ports instead of its own."""

    directory: Path
    gateway: str

    def place(self, text: str) -> str:
        """A text of the pod with this machine's folders and addresses."""
        for inside, here in (
            ("/sidelight", str(self.directory / "volume")),
            ("/var/lib/sidelight", str(self.directory / "data")),
            ("/own", str(self.directory / "own")),
        ):
            text = re.sub(rf"(?<![\w/.-]){inside}(?=/|:|$)", here, text)
        return re.sub(r"http://[\w.-]+\.svc[\w.]*:4318", self.gateway, text)

    def variables(self, container: dict[str, Any]) -> dict[str, str]:
        """The environment of a container, as the kubelet makes it."""
        variables: dict[str, str] = {}
        for entry in container["env"]:
            value = entry.get("value")
            if value is None:
                value = FIELDS[entry["valueFrom"]["fieldRef"]["fieldPath"]]
            value = re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], value)
            variables[entry["name"]] = self.place(value)
        return variables


def by_name(containers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in containers}


@pytest.fixture
def gateway() -> Iterator[OtlpReceiver]:
    """Where the sidecar sends to."""
    with OtlpReceiver() as receiver:
        yield receiver


def test_traces_of_an_injected_pod_arrive(gateway: OtlpReceiver, tmp_path: Path) -> None:
    """They name the pod, and the doctor in the sidecar says so."""
    decision = inject(POD, default_settings())
    pod = apply(POD, decision.operations)
    node = Node(tmp_path, gateway.url)
    before, containers = (by_name(pod["spec"][key]) for key in ("initContainers", "containers"))

    image = tmp_path / "image"
    tree.write(image / "path")
    (image / "copy.sh").write_text((ROOT / "images/instrumentation/copy.sh").read_text())
    (tmp_path / "volume").mkdir()
    copy = before["sidelight-copy"]
    subprocess.run(["sh", image / "copy.sh", *map(node.place, copy["args"])], check=True)

    ports = [str(free_port()) for _ in range(3)]
    sidecar = before["sidelight"]
    variables = environment(node.variables(sidecar)) | {
        "SIDELIGHT_RECEIVERS__OTLP_HTTP__PORT": ports[0],
        "SIDELIGHT_RECEIVERS__OTLP_GRPC__PORT": ports[1],
        "SIDELIGHT_SERVE__PORT": ports[2],
        "COLUMNS": "1000",
    }
    command = [sys.executable, "-m", "sidelight.collector"]
    with (tmp_path / "sidecar.log").open("w+") as log:
        collector = subprocess.Popen(
            [*command, *sidecar["args"]], env=variables, cwd=tmp_path, stderr=log
        )
        server = containers["server"]
        assert all(mount.get("readOnly") for mount in server["volumeMounts"])
        seen = node.variables(server)
        assert seen["PYTHONPATH"] == f"{tmp_path}/own:{tmp_path}/volume/path"
        running = start(endpoint=f"http://127.0.0.1:{ports[0]}", variables=seen)
        try:
            gateway.wait_for(lambda: {span.name for span in gateway.spans()} >= SPANS)
            logged = tmp_path / "sidecar.log"
            eventually(lambda: "vLLM is observed: Sidelight" in logged.read_text())
            doctor = subprocess.run(
                [*command, "doctor", "--pod"],
                env=variables, cwd=tmp_path, capture_output=True, text=True,
            )  # fmt: skip
        finally:
            running.communicate("\n", timeout=120)
            collector.terminate()
            assert collector.wait(120) == 0
    assert doctor.returncode == 0, doctor.stdout
    assert "vllm chat tiny" in doctor.stdout
    resource = gateway.spans()[0].resource
    assert {key: resource.get(key) for key in resource if key.startswith("k8s.")} == {
        "k8s.pod.name": "qwen-0",
        "k8s.pod.uid": "0ddba11",
        "k8s.namespace.name": "serving",
        "k8s.node.name": "gpu-3",
        "k8s.container.name": "server",
    }
