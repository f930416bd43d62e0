"""Calls a webhook as an API server does: its trust, its names, and its rules for answers."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from sidelight.injection import names
from sidelight.injection.decision import PodOperation
from sidelight.injection.patch import apply
from support.paths import TESTS

_FILE = TESTS / "data" / "kubernetes" / "admission-reviews.jsonl"
# The label that they were recorded with.
_LABEL = "demo.dev/inject"

RECORDED: list[dict[str, Any]] = [
    json.loads(line.replace(_LABEL, names.INJECT)) for line in _FILE.read_text().splitlines()
]
"""AdmissionReviews of a real API server, each for a pod in `default`.

The second is a dry run. The third does not run vLLM.
"""


@dataclass(frozen=True)
class Reviewed:
    """A valid answer."""

    response: dict[str, Any]
    patch: list[dict[str, Any]]

    def applied(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod after the patch."""
        return apply(
            pod, [PodOperation(each["op"], each["path"], each["value"]) for each in self.patch]
        )


def checked(review: dict[str, Any], status: int, body: bytes) -> Reviewed:
    """The answer, if an API server accepts it (k8s.io/apiserver, VerifyAdmissionResponse)."""
    assert status == 200, (status, body)
    answer = json.loads(body)
    assert answer["kind"] == "AdmissionReview"
    assert answer["apiVersion"] == review["apiVersion"]
    response = answer["response"]
    assert response["uid"] == review["request"]["uid"]
    assert ("patch" in response) == (response.get("patchType") == "JSONPatch")
    assert response["allowed"] is True
    for warning in response.get("warnings", []):
        assert warning.isprintable()
        assert len(warning) <= 256
    patch = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
    return Reviewed(response, patch)


def connected(port: int, context: ssl.SSLContext, name: str) -> http.client.HTTPSConnection:
    """A connection to a Service called `name`, which is on a port of this machine."""
    connection = http.client.HTTPSConnection(name, port, context=context, timeout=60)
    plain = socket.create_connection(("127.0.0.1", port), 60)
    # As http.client and Go do, or the body waits for an acknowledgement of the head.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    return connection


def review_over(
    connection: http.client.HTTPSConnection, review: dict[str, Any], path: str = "/inject"
) -> Reviewed:
    """The webhook's answer to one AdmissionReview."""
    connection.request(
        "POST",
        # An API server says how long it waits.
        f"{path}?timeout=5s",
        json.dumps(review),
        {"Content-Type": "application/json", "Accept": "application/json, */*"},
    )
    answer = connection.getresponse()
    return checked(review, answer.status, answer.read())


def trusting(configuration: dict[str, Any]) -> ssl.SSLContext:
    """The trust of an API server with a webhook configuration: its caBundle and nothing else."""
    bundle = configuration["webhooks"][0]["clientConfig"].get("caBundle", "")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python 3.13 checks this by default, and Go's verifier is as strict.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=base64.b64decode(bundle).decode())
    return context
