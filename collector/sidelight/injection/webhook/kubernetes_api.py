"""The few calls that the injector makes to the API server of its cluster."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sidelight.base.configuration.section import ConfigError
from sidelight.base.http_client.client import Answer, HttpClient, NoAnswerError
from sidelight.base.listening import ServiceError
from sidelight.base.tls.watched import Watched

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token of its service account and the API server's authority."""

_TIMEOUT_SECONDS: Final = 10.0
# The API server keeps no object that is larger.
_MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
_MAX_REASON_CHARACTERS: Final = 400
_JSON: Final = "application/json"
# A JSON merge patch would replace the whole list of webhooks; this one merges it by their names.
_MERGE: Final = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server refused a call, or did not answer. The message says what to do."""


class NotFoundError(ApiError):
    """The object does not exist."""


class ConflictError(ApiError):
    """The object has changed since it was read, or exists already."""


class KubernetesApi:
    """Calls the API server as the service account of this pod."""

    def __init__(self, client: HttpClient, token: Callable[[], str]) -> None:
        """`token` returns the current token; it changes every hour."""
        self._client = client
        self._token = token

    async def get(self, path: str) -> dict[str, Any]:
        """Read an object. Raises `ApiError`, and so do the others."""
        return _object(await self._answered(self._client.get(path, self._headers(None))), path)

    async def create(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in the collection at `path`."""
        body = json.dumps(content).encode()
        answer = await self._answered(self._client.post(path, body, self._headers(_JSON)))
        return _object(answer, path)

    async def replace(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object. Raises `ConflictError` unless it has `content`'s resourceVersion."""
        body = json.dumps(content).encode()
        answer = await self._answered(self._client.put(path, body, self._headers(_JSON)))
        return _object(answer, path)

    async def merge(self, path: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Change parts of an object by a strategic merge patch.

        Raises `ConflictError` if `change` has a resourceVersion that is not the current one.
        """
        body = json.dumps(change).encode()
        answer = await self._answered(self._client.patch(path, body, self._headers(_MERGE)))
        return _object(answer, path)

    def close(self) -> None:
        """Close the connections; calls under way fail."""
        self._client.close()

    def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": _JSON}
        return headers if content_type is None else {**headers, "Content-Type": content_type}

    @staticmethod
    async def _answered(call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except NoAnswerError as error:
            raise ApiError(str(error)) from None


def in_cluster(environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> KubernetesApi:
    """The API server of the pod's cluster. Raises `ServiceError` outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ServiceError(
            "this is not a pod (KUBERNETES_SERVICE_HOST is not set): outside of a cluster name "
            "--certificate and --key, and add --no-events"
        )
    # Read by a thread whenever it changes: the kubelet replaces it before it expires.
    token_file = directory / "token"
    try:
        token = Watched([token_file], lambda: _token_of(token_file))
    except ConfigError as error:
        raise ServiceError(str(error)) from None
    # An address, as client-go uses it: the injector needs no DNS.
    place = f"[{host}]" if ":" in host else host
    client = HttpClient(
        f"https://{place}:{port}", _TIMEOUT_SECONDS, _MAX_ANSWER_BYTES, ca=directory / "ca.crt"
    )
    return KubernetesApi(client, token.current)


def namespace_of(environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> str:
    """The namespace of this pod; `default` where nothing tells it."""
    named = environ.get("POD_NAMESPACE", "").strip()
    if named:
        return named
    try:
        return (directory / "namespace").read_text().strip() or "default"
    except (OSError, UnicodeDecodeError):
        return "default"


def _token_of(file: Path) -> str:
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(
            f"the service account's token {file} cannot be read ({reason}): set "
            "automountServiceAccountToken of the pod to true"
        ) from None
    if not token or len(token.split()) != 1:
        raise ConfigError(f"the service account's token {file} is not a token: mount it again")
    return token


def _object(answer: Answer, path: str) -> dict[str, Any]:
    # A proxy on the way may answer with a page of its own.
    content: dict[str, Any] | None = None
    with suppress(ValueError, RecursionError):
        parsed = json.loads(answer.body)
        content = parsed if isinstance(parsed, dict) else None
    if 200 <= answer.status < 300:
        if content is None:
            raise ApiError(f"the API server answered no object for {path}; it is asked again")
        return content
    raise _refusal(
        answer.status, str((content or {}).get("message") or "")[:_MAX_REASON_CHARACTERS], path
    )


def _refusal(status: int, message: str, path: str) -> ApiError:
    what = message or f"status {status} for {path}"
    match status:
        case 404:
            return NotFoundError(f"{what}; create it, or correct its name")
        case 409:
            return ConflictError(f"{what}; it is read again")
        case 401:
            return ApiError(
                f"the API server does not accept the service account's token ({what}); check that "
                "the service account exists"
            )
        case 403:
            return ApiError(f"{what}; grant it by the role of the injector")
    return ApiError(f"the API server refused: {what}; it is tried again")
