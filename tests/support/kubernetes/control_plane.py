"""A real kube-apiserver with its etcd, from the folder that KUBEBUILDER_ASSETS names.

As controller-runtime's envtest starts them. There is no controller, scheduler or kubelet: objects
are stored and admitted, pods never run.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.certificates import Authority
from support.lifetime import bound
from support.ports import free_port
from support.waiting import eventually

VARIABLE = "KUBEBUILDER_ASSETS"
ADMIN_TOKEN = "admin-token"


def assets() -> Path | None:
    """The folder with `etcd` and `kube-apiserver`; None if there is none."""
    folder = Path(os.environ.get(VARIABLE, ""))
    programs = (folder / "etcd", folder / "kube-apiserver")
    return folder if all(program.is_file() for program in programs) else None


def own_address() -> str:
    """An address of this machine that is not loopback, which endpoints must not be."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Connecting a datagram socket sends nothing; it only chooses the interface.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@dataclass
class ApiAnswer:
    """Status and content of an answer."""

    status: int
    content: dict[str, Any]


class ControlPlane:
    """etcd and kube-apiserver. `account` is the service account that `account_token` stands for."""

    def __init__(self, folder: Path, directory: Path, account: str) -> None:
        self._folder = folder
        self.directory = directory
        self._namespace, _, name = account.partition("/")
        self._user = f"system:serviceaccount:{self._namespace}:{name}"
        self._stack = ExitStack()
        self.port = free_port()

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        authority = Authority(self.directory)
        files = authority.issue("api-server")
        self._context = authority.client()
        self._write_account(authority)
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._start(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            "--unsafe-no-fsync",
        )
        self._start(
            "kube-apiserver",
            f"--etcd-servers={client}",
            f"--cert-dir={self.directory / 'certificates'}",
            f"--tls-cert-file={files.certificate}",
            f"--tls-private-key-file={files.key}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            f"--service-account-issuer=https://127.0.0.1:{self.port}/",
            f"--service-account-key-file={self.directory / 'account.pub'}",
            f"--service-account-signing-key-file={self.directory / 'account.key'}",
            # Its controller, which makes the accounts' objects, does not run.
            "--disable-admission-plugins=ServiceAccount",
            # Calls of webhooks go to the endpoints of a Service: there is no kube-proxy.
            "--enable-aggregator-routing=true",
        )
        eventually(self._is_ready, "the API server to be ready", state=self._log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def account_directory(self) -> Path:
        """As it is mounted in a pod of the service account."""
        return self.directory / "account"

    @property
    def environment(self) -> dict[str, str]:
        """What the kubelet sets in a pod."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "POD_NAME": "sidelight-injector-0",
            "POD_NAMESPACE": self._namespace,
        }

    @property
    def kubeconfig(self) -> Path:
        """For Helm and kubectl, as an administrator."""
        path = self.directory / "kubeconfig.yaml"
        authority = base64.b64encode((self.directory / "ca.pem").read_bytes()).decode()
        server = {"server": f"https://127.0.0.1:{self.port}"}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {**server, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "admin", "user": {"token": ADMIN_TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def call(self, method: str, path: str, content: Any = None) -> ApiAnswer:
        """One call as an administrator."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            None if content is None else json.dumps(content).encode(),
            {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60, context=self._context) as answer:
                return ApiAnswer(answer.status, json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            return ApiAnswer(error.code, json.loads(error.read() or b"{}"))

    def _write_account(self, authority: Authority) -> None:
        self.account_directory.mkdir()
        (self.account_directory / "ca.crt").write_bytes(authority.certificate.read_bytes())
        (self.account_directory / "token").write_text("account-token")
        (self.account_directory / "namespace").write_text(self._namespace)
        groups = f"system:serviceaccounts,system:serviceaccounts:{self._namespace}"
        tokens = (
            f'{ADMIN_TOKEN},admin,1,"system:masters"\naccount-token,{self._user},2,"{groups}"\n'
        )
        (self.directory / "tokens.csv").write_text(tokens)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self.directory / "account.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (self.directory / "account.pub").write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def _start(self, program: str, *options: str) -> None:
        output = self._stack.enter_context((self.directory / f"{program}.log").open("wb"))
        command = bound([str(self._folder / program), *options])
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

        def end() -> None:
            process.terminate()
            process.wait(120)

        self._stack.callback(end)

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz").status == 200
        except (OSError, ssl.SSLError):
            return False
        except ValueError:
            # It answers `ok`, which is not JSON.
            return True

    def _log(self) -> str:
        path = self.directory / "kube-apiserver.log"
        return path.read_text()[-2000:] if path.exists() else ""
