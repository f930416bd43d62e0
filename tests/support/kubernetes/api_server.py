"""Stands in for a Kubernetes API server: keeps objects and enforces its rules, over real TLS.

What it enforces, as the real one does: 401 without a valid token; 403 unless a rule of RBAC grants
verb, resource and name; 404 for what is missing; 409 for a name in use, and for a resourceVersion
that is not the current one, in PUT and in patches; 415 for a wrong content type; 422 for a Secret
whose type changes, a caBundle that is not PEM and an Event that lies elsewhere than its object.
It knows only the kinds that the injector uses, and only strategic merge patches.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import re
import ssl
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.certificates import Authority

CORE = "/api/v1"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_PATH = re.compile(
    rf"(?P<group>{CORE}|{ADMISSION})(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?"
)
_KINDS = {
    "secrets": ("Secret", CORE),
    "events": ("Event", CORE),
    "mutatingwebhookconfigurations": ("MutatingWebhookConfiguration", ADMISSION),
}
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}
_PATCHES = {
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
}


class StatusError(Exception):
    """A refusal, as the API answers it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Rule:
    """What RBAC grants. Without `name` it is for all objects of the resource."""

    verb: str
    resource: str
    name: str = ""


@dataclass(frozen=True)
class Call:
    """One request that was let in."""

    verb: str
    resource: str
    name: str


@dataclass
class ApiServer:
    """A running server, its objects, and the calls it has answered."""

    directory: Path
    rules: set[Rule] = field(default_factory=set)
    tokens: set[str] = field(default_factory=lambda: {"token-1"})
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    refused: list[Call] = field(default_factory=list)
    """Those that RBAC did not let in."""
    merges: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = field(
        default_factory=list
    )
    """Each patch, between the object before and after it."""
    before: Callable[[Call], None] = lambda _call: None
    """Called before each call, for what others do at the same time."""

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self._version = 100
        authority = Authority(self.directory, "ca")
        (self.directory / "ca.crt").write_bytes(authority.certificate.read_bytes())
        (self.directory / "token").write_text(sorted(self.tokens)[0])
        (self.directory / "namespace").write_text("monitoring")
        files = authority.issue("api-server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What the kubelet sets in a pod."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._server.server_address[1]),
            "POD_NAME": "sidelight-injector-0",
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """Store an object as another client would, in a new version."""
        with self.lock:
            self._version += 1
            stored = copy.deepcopy(content)
            stored.setdefault("metadata", {})["resourceVersion"] = str(self._version)
            stored["metadata"].setdefault("uid", str(uuid.uuid4()))
            stored["metadata"].setdefault("name", path.rpartition("/")[2])
            self.objects[path] = stored
            return stored

    def count(self, verb: str, resource: str) -> int:
        """How many calls of a kind were let in."""
        return sum((call.verb, call.resource) == (verb, resource) for call in list(self.calls))

    def of(self, resource: str) -> list[dict[str, Any]]:
        """The objects of a resource."""
        with self.lock:
            return [value for path, value in self.objects.items() if f"/{resource}/" in path]

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> dict[str, Any]:
        """The object to answer with. Raises `StatusError`."""
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        match = _PATH.fullmatch(path)
        if match is None or _KINDS.get(match["resource"], ("", ""))[1] != match["group"]:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        call = Call(_VERBS[method], match["resource"], match["name"] or "")
        self._authorise(call)
        self.before(call)
        with self.lock:
            self.calls.append(call)
            if method == "GET":
                return self._existing(path, call)
            content_type = headers.get("Content-Type", "")
            expected = _PATCHES if method == "PATCH" else {"application/json"}
            if content_type not in expected:
                raise StatusError(415, "UnsupportedMediaType", f"not supported: {content_type}")
            content = json.loads(body)
            if method == "POST":
                return self._create(path, match, content)
            existing = self._existing(path, call)
            version = content.get("metadata", {}).get("resourceVersion")
            if version not in (None, "", existing["metadata"]["resourceVersion"]):
                raise StatusError(
                    409,
                    "Conflict",
                    f'Operation cannot be fulfilled on {call.resource} "{call.name}": the object '
                    "has been modified; please apply your changes to the latest version and try "
                    "again",
                )
            if method == "PATCH":
                change = content
                content = _merged(copy.deepcopy(existing), change, content_type)
                self.merges.append((existing, change, content))
            elif content["metadata"].get("name") != call.name:
                raise StatusError(
                    400, "BadRequest", "the name of the object is not that of the URL"
                )
            _validate(content, existing)
            return self.put(path, content)

    def _authorise(self, call: Call) -> None:
        # The name of a new object is in its body, which RBAC does not read.
        named = "" if call.verb == "create" else call.name
        granted = {Rule(call.verb, call.resource), Rule(call.verb, call.resource, named)}
        if not granted & self.rules:
            self.refused.append(call)
            raise StatusError(
                403,
                "Forbidden",
                f'{call.resource} "{call.name}" is forbidden: User '
                '"system:serviceaccount:monitoring:sidelight-injector" cannot '
                f'{call.verb} resource "{call.resource}"',
            )

    def _existing(self, path: str, call: Call) -> dict[str, Any]:
        if path not in self.objects:
            raise StatusError(404, "NotFound", f'{call.resource} "{call.name}" not found')
        return copy.deepcopy(self.objects[path])

    def _create(self, path: str, match: re.Match[str], content: dict[str, Any]) -> dict[str, Any]:
        metadata = content["metadata"]
        kind, _ = _KINDS[match["resource"]]
        if content.get("kind") != kind or metadata.get("resourceVersion"):
            raise StatusError(400, "BadRequest", "not an object that can be created here")
        if metadata.get("namespace", match["namespace"]) != match["namespace"]:
            raise StatusError(400, "BadRequest", "the namespace is not that of the URL")
        whole = f"{path}/{metadata['name']}"
        if whole in self.objects:
            what = f'{match["resource"]} "{metadata["name"]}"'
            raise StatusError(409, "AlreadyExists", f"{what} already exists")
        content["metadata"] = {**metadata, "namespace": match["namespace"]}
        _validate(content, None)
        return self.put(whole, content)


def _merged(existing: dict[str, Any], change: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind != "application/strategic-merge-patch+json":
        raise StatusError(501, "NotImplemented", "this server only has strategic merge patches")
    by_name = {webhook["name"]: webhook for webhook in existing.get("webhooks", [])}
    for webhook in change.get("webhooks", []):
        # The patch merge key of `webhooks` is `name`.
        target = by_name.setdefault(webhook["name"], {"name": webhook["name"]})
        for key, value in webhook.items():
            target[key] = {**target.get(key, {}), **value} if isinstance(value, dict) else value
    return {**existing, "webhooks": list(by_name.values())}


def _validate(content: dict[str, Any], before: dict[str, Any] | None) -> None:
    match content["kind"]:
        case "Secret":
            if before is not None and content.get("type") != before.get("type"):
                raise StatusError(422, "Invalid", "type: field is immutable")
            for value in (content.get("data") or {}).values():
                _decoded(value, "data")
        case "Event":
            involved = content["involvedObject"].get("namespace", "")
            if involved != content["metadata"]["namespace"]:
                raise StatusError(422, "Invalid", "involvedObject.namespace: does not match")
        case "MutatingWebhookConfiguration":
            for webhook in content.get("webhooks") or []:
                bundle = _decoded(webhook["clientConfig"].get("caBundle", ""), "caBundle")
                try:
                    if bundle:
                        ssl.create_default_context(cadata=bundle.decode())
                except (ssl.SSLError, ValueError):
                    raise StatusError(422, "Invalid", "caBundle: unable to load") from None


def _decoded(value: Any, key: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, binascii.Error):
        raise StatusError(400, "BadRequest", f"{key}: illegal base64 data") from None


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet, or each answer waits for a delayed acknowledgement.
        wbufsize = -1

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                code = 201 if self.command == "POST" else 200
                answer = server.answer(self.command, self.path, self.headers, body)
            except StatusError as error:
                code = error.code
                answer = {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "status": "Failure",
                    "message": str(error),
                    "reason": error.reason,
                    "code": code,
                }
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = _any  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    return Handler
