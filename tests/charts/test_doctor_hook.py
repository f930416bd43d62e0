"""The pod of `helm test`: its containers' commands, run on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.chart_values import CASES, LANGFUSE_PROJECTS
from support.collector import Collector
from support.commands import Ended, command
from support.helm import Object, only, rendered
from support.langfuse import LangfuseStandIn
from support.ports import free_port
from support.rendered_gateway import Gateway, place

pytestmark = [pytest.mark.real("helm-4"), pytest.mark.usefixtures("renderings")]


def _objects(langfuse_url: str, port: int) -> list[Object]:
    destination = {**LANGFUSE_PROJECTS, "url": langfuse_url, "routes": []}
    receivers = {"otlp_http": {"port": port}, "otlp_grpc": {"port": free_port()}}
    config = {
        "destinations": [destination],
        "receivers": receivers,
        "serve": {"port": free_port()},
    }
    return rendered({"gateway": {"config": config}})


def _secrets(secret_key: str) -> dict[tuple[str, str], str]:
    return {
        ("langfuse-shared", "public-key"): "pk-lf-test",
        ("langfuse-shared", "secret-key"): secret_key,
    }


def _container(objects: list[Object], name: str) -> dict[str, Any]:
    containers = only(objects, "Pod", "-doctor")["spec"]["containers"]
    (container,) = (one for one in containers if one["name"] == name)
    assert isinstance(container, dict)
    return container


def _ask_destinations(objects: list[Object], gateway: Gateway) -> Ended:
    *arguments, file = _container(objects, "destinations")["args"]
    assert file.endswith("/sidelight.yaml")
    return command(*arguments, gateway.file, cwd=gateway.volume)


def test_destinations_are_asked_with_their_keys(tmp_path: Path) -> None:
    """The test passes with the right key and fails with a wrong one, which it names."""
    with LangfuseStandIn() as langfuse:
        objects = _objects(langfuse.url, free_port())
        right = _ask_destinations(objects, place(objects, tmp_path / "1", _secrets("sk-lf-test")))
        assert right.returncode == 0, right.stdout
        wrong = _ask_destinations(objects, place(objects, tmp_path / "2", _secrets("sk-lf-other")))
        assert wrong.returncode == 1
        assert "langfuse" in wrong.stdout


def test_the_gateway_is_asked_as_senders_do(tmp_path: Path) -> None:
    """It passes while the gateway takes data at its Service, and fails when nothing answers."""
    with LangfuseStandIn() as langfuse:
        port = free_port()
        objects = _objects(langfuse.url, port)
        container = _container(objects, "gateway")
        service = f"sidelight-gateway.observability.svc:{port}"
        assert service in str(container["env"])
        variables = {
            variable["name"]: variable["value"]
            .replace(service, f"127.0.0.1:{port}")
            .replace("/var/lib/sidelight", str(tmp_path))
            for variable in container["env"]
        }

        def ask() -> Ended:
            return command(*container["args"], cwd=tmp_path, variables=variables)

        gateway = place(objects, tmp_path / "gateway", _secrets("sk-lf-test"))
        with Collector(gateway.config, tmp_path / "gateway"):
            answer = ask()
            assert answer.returncode == 0, answer.stdout
        assert ask().returncode == 1


def test_what_a_sidecar_has_not_is_not_asked_for() -> None:
    """Behind tokens or TLS the gateway would refuse the test as it refuses a stranger."""
    for values, names in (
        ({}, ["destinations", "gateway"]),
        (CASES["everything configured"], ["destinations"]),
    ):
        containers = only(rendered(values), "Pod", "-doctor")["spec"]["containers"]
        assert [container["name"] for container in containers] == names
