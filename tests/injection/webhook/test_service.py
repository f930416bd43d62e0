"""The injector as a process: over real TLS, against an API server, from start to end."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidelight.injection import names
from sidelight.injection.settings import DEFAULT_FILE
from support.certificates import Authority, serial_number
from support.collector import environment
from support.commands import command
from support.kubernetes.admission import RECORDED, connected, review_over, trusting
from support.kubernetes.api_server import ADMISSION, CORE, ApiServer, Rule
from support.kubernetes.injector import Injector
from support.raw_http import RawClient
from support.waiting import eventually

NAME = "sidelight-injector.monitoring.svc"
SECRET = f"{CORE}/namespaces/monitoring/secrets/injector-tls"
CONFIGURATION = f"{ADMISSION}/mutatingwebhookconfigurations/sidelight-injector"
SELF_SIGNED = (
    "--self-signed-secret=injector-tls",
    "--service=sidelight-injector",
    "--webhook-configuration=sidelight-injector",
)
RULES = {
    Rule("get", "secrets", "injector-tls"),
    Rule("update", "secrets", "injector-tls"),
    Rule("get", "mutatingwebhookconfigurations", "sidelight-injector"),
    Rule("patch", "mutatingwebhookconfigurations", "sidelight-injector"),
    Rule("create", "events"),
}
"""What the chart grants."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server after the chart was installed."""
    with ApiServer(tmp_path / "api", set(RULES)) as running:
        running.put(SECRET, {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"})
        webhooks = [{"name": "pod.injector.sidelight.dev", "clientConfig": {}}]
        running.put(CONFIGURATION, {"kind": "MutatingWebhookConfiguration", "webhooks": webhooks})
        yield running


def self_signed(server: ApiServer, directory: Path, *options: str) -> Injector:
    """A replica with the options of the chart."""
    account = f"--service-account={server.directory}"
    return Injector(
        directory, *SELF_SIGNED, account, "--drain-seconds=0", *options, env=server.environment
    )


@pytest.fixture
def files(tmp_path: Path) -> Authority:
    """The authority of a supplied certificate."""
    return Authority(tmp_path)


def supplied(authority: Authority, directory: Path, *options: str | Path) -> Injector:
    """An injector outside of a cluster."""
    pair = authority.issue("tls")
    return Injector(
        directory,
        *("--certificate", pair.certificate, "--key", pair.key, "--no-events"),
        *("--drain-seconds", "0", *options),
    )


def test_an_api_server_trusts_what_the_injector_made(server: ApiServer, tmp_path: Path) -> None:
    """From an empty Secret to an injected pod, by two replicas, with an Event and metrics."""
    with self_signed(server, tmp_path / "1") as one, self_signed(server, tmp_path / "2") as two:
        for injector in (one, two):
            eventually(lambda injector=injector: injector.readiness() == "ready")
            connection = connected(injector.port, trusting(server.objects[CONFIGURATION]), NAME)
            *of_vllm, other = RECORDED
            for review in of_vllm:
                answer = review_over(connection, review)
                patched = answer.applied(review["request"]["object"])
                assert names.INJECTED in patched["metadata"]["annotations"]
            (warning,) = review_over(connection, other).response["warnings"]
            assert "No container runs vLLM" in warning
            connection.close()
        # Two replicas, two reasons.
        events = eventually(lambda: len(server.of("events")) == 4 and server.of("events"))
        assert {each["reason"] for each in events} == {"SidelightInjected", "SidelightNotInjected"}
        assert {each["metadata"]["namespace"] for each in events} == {"default"}
        metrics = one.get("/metrics")[1]
        assert 'sidelight_injector_pods_total{outcome="injected",reason="injected"} 2' in metrics
        assert "sidelight_injector_certificate_expiry_seconds 1" in metrics
        assert one.get("/healthz") == (200, "ok\n")


def test_a_supplied_certificate_is_read_again(files: Authority, tmp_path: Path) -> None:
    """cert-manager renews it in the mounted Secret."""
    with supplied(files, tmp_path) as injector:
        assert injector.readiness() == "ready"
        first = serial_number(injector.port, files.client())
        connection = connected(injector.port, files.client(), "localhost")
        assert review_over(connection, RECORDED[0]).patch
        files.issue("tls")
        eventually(lambda: serial_number(injector.port, files.client()) != first)
        # An open connection goes on.
        assert review_over(connection, RECORDED[0]).patch


def test_changed_settings_are_used_at_once(files: Authority, tmp_path: Path) -> None:
    """As of a mounted ConfigMap; a faulty file changes nothing."""
    settings = tmp_path / "injection.yaml"
    content = yaml.safe_load(DEFAULT_FILE.read_text())
    settings.write_text(yaml.safe_dump(content))
    with supplied(files, tmp_path, "--settings", settings) as injector:
        connection = connected(injector.port, files.client(), "localhost")

        def image() -> Any:
            pod = RECORDED[0]["request"]["object"]
            patched = review_over(connection, RECORDED[0]).applied(pod)
            (sidecar,) = (
                each for each in patched["spec"]["initContainers"] if each["name"] == names.SIDECAR
            )
            return sidecar["image"]

        assert image() == content["sidecar"]["image"]
        settings.write_text("sidecar: [")
        eventually(lambda: any("previous content stays" in line for line in injector.messages()))
        assert image() == content["sidecar"]["image"]
        content["sidecar"]["image"] = "registry.example/collector:2"
        settings.write_text(yaml.safe_dump(content))
        eventually(lambda: image() == "registry.example/collector:2")


def test_it_drains_on_sigterm(files: Authority, tmp_path: Path) -> None:
    """It is not ready at once, and serves until the Service knows; then it ends."""
    with supplied(files, tmp_path / "1", "--drain-seconds", "600") as injector:
        connection = connected(injector.port, files.client(), "localhost")
        assert review_over(connection, RECORDED[0]).patch
        injector.process.send_signal(signal.SIGTERM)
        eventually(lambda: injector.readiness() == "draining")
        assert review_over(connection, RECORDED[0]).patch
        assert review_over(connected(injector.port, files.client(), "localhost"), RECORDED[0]).patch
    with supplied(files, tmp_path / "2", "--drain-seconds", "0.5") as injector:
        assert injector.terminate() == 0


def test_a_second_signal_ends_it_at_once(files: Authority, tmp_path: Path) -> None:
    """For people at a terminal."""
    with supplied(files, tmp_path, "--drain-seconds", "600") as injector:
        injector.process.send_signal(signal.SIGINT)
        eventually(lambda: injector.readiness() == "draining")
        assert injector.terminate() == 1


def test_an_api_server_that_is_down_is_waited_for(server: ApiServer, tmp_path: Path) -> None:
    """It starts, tells why it is not ready, and goes on trying."""
    server.rules.clear()
    with self_signed(server, tmp_path / "1") as injector:
        eventually(lambda: "grant it by the role of the injector" in injector.readiness())
        assert injector.get("/readyz")[0] == 503
        assert injector.get("/healthz")[0] == 200
        with pytest.raises(ssl.SSLError):
            connected(injector.port, ssl.create_default_context(), NAME)
        server.rules |= RULES
        eventually(lambda: injector.readiness() == "ready")


def test_what_kubernetes_sets_for_a_service_of_its_name_changes_nothing(
    files: Authority, tmp_path: Path
) -> None:
    """Pods of the namespace get the address of each Service in variables of its name."""
    pair = files.issue("tls")
    links = {
        "SIDELIGHT_INJECTOR_PORT": "tcp://10.0.0.7:443",
        "SIDELIGHT_INJECTOR_SERVICE_HOST": "10.0.0.7",
        "SIDELIGHT_INJECTOR_SERVICE_PORT": "443",
    }
    options = ("--certificate", pair.certificate, "--key", pair.key, "--no-events")
    with Injector(tmp_path, *options, env=links) as injector:
        assert injector.readiness() == "ready"


def test_hostile_clients_are_refused(files: Authority, tmp_path: Path) -> None:
    """Too large, in plain HTTP, or no HTTP at all; the next pod is injected."""
    with supplied(files, tmp_path) as injector:
        connection = connected(injector.port, files.client(), "localhost")
        connection.putrequest("POST", "/inject")
        connection.putheader("Content-Length", str(64 * 1024 * 1024))
        connection.endheaders()
        assert connection.getresponse().status == 413
        with RawClient(injector.port) as plain:
            plain.send(b"POST /inject HTTP/1.1\r\n\r\n")
            assert b"use https" in plain.rest()
        connection = connected(injector.port, files.client(), "localhost")
        for _ in range(3):
            assert review_over(connection, RECORDED[0]).patch
        for counted in (
            'sidelight_injector_errors_total{kind="refused"} 1',
            'sidelight_injector_handshakes_failed_total{reason="plain"} 1',
        ):
            eventually(lambda counted=counted: counted in injector.get("/metrics")[1])


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "give either --certificate and --key, or --self-signed-secret"),
        (("--certificate=tls.crt",), 2, "belong together: add the other"),
        ((*SELF_SIGNED, "--certificate=tls.crt", "--key=tls.key"), 2, "give either"),
        (SELF_SIGNED[:1], 2, "add both"),
        (
            ("--certificate=no.crt", "--key=no.key", "--no-events"),
            2,
            "--certificate: no.crt cannot be read",
        ),
        (SELF_SIGNED, 1, "this is not a pod (KUBERNETES_SERVICE_HOST is not set)"),
    ],
)
def test_wrong_options_are_explained(
    tmp_path: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    """In one sentence that says what to do."""
    with Injector(tmp_path, *options, wait=False) as injector:
        assert injector.process.wait(120) == code
        assert said in (tmp_path / "stderr.jsonl").read_text()


def test_faults_of_files_are_told_before_it_listens(files: Authority, tmp_path: Path) -> None:
    """The settings' and the port's."""
    pair = files.issue("tls")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("sidecars: {}")
    common = ("--certificate", pair.certificate, "--key", pair.key, "--no-events")
    with Injector(tmp_path, *common, "--settings", wrong, wait=False) as injector:
        assert injector.process.wait(120) == 2
        assert "sidecars" in (tmp_path / "stderr.jsonl").read_text()
    with supplied(files, tmp_path / "1") as running:
        taken = ("--serve-port", str(running.serve_port))
        with Injector(tmp_path, *common, *taken, wait=False) as injector:
            assert injector.process.wait(120) == 1
            said = (tmp_path / "stderr.jsonl").read_text()
            assert "choose another address by --serve-host and --serve-port" in said


def test_help_teaches(tmp_path: Path) -> None:
    """What it does, what to give it, and how it ends."""
    text = command("injector", "--help", cwd=tmp_path, variables=environment()).stdout
    for part in (
        "/inject/namespace",
        "--self-signed-secret sidelight",
        "Exit codes: 0",
        "no-events",
    ):
        assert part in text
