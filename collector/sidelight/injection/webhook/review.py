"""AdmissionReview v1: what the API server asks, and the answer with its patch; no sockets.

See https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

# The API server takes objects of 3 MiB, and a pod of more than 1.5 MiB does not fit into etcd.
MAX_REVIEW_BYTES: Final = 4 * 1024 * 1024
# A pod has some 12 levels. Code that walks a deeper one could exceed Python's recursion limit.
MAX_DEPTH: Final = 64
# The API server cuts warnings at 256 characters once they have 4,096 together.
_MAX_WARNING_CHARACTERS: Final = 256

_GROUP: Final = "admission.k8s.io/"
_VERSION: Final = f"{_GROUP}v1"


class UnreadableReviewError(Exception):
    """The body has no uid that an answer could carry. The message says what to do."""


class Obstacle(StrEnum):
    """Why a request is answered without a look at its pod; a label value of metrics."""

    VERSION = "unsupported_version"
    RESOURCE = "not_a_pod_creation"
    MALFORMED = "malformed"
    DEPTH = "too_deep"

    @property
    def sentence(self) -> str:
        """What is wrong, and what to do."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Obstacle.VERSION: "this version of AdmissionReview is not supported; set "
    "admissionReviewVersions of the webhook configuration to [v1]",
    Obstacle.RESOURCE: "the request does not create a pod; limit the rules of the webhook "
    "configuration to CREATE of pods",
    Obstacle.MALFORMED: "the object of the request is not a pod; check what changes pods before "
    "this webhook",
    Obstacle.DEPTH: f"the pod has more than {MAX_DEPTH} levels; check what creates it",
}


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """One request. `pod` is what the pod would be; it is empty if there is an `obstacle`.

    `is_dry_run`: nothing is stored, so nothing else may have effects.
    """

    api_version: str
    uid: str
    namespace: str
    is_dry_run: bool
    pod: Mapping[str, Any]
    obstacle: Obstacle | None


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What is answered: always that the pod is allowed.

    `operations` is a JSON patch. `reason` is a word for the audit log, `warning` a sentence for
    the user who creates the pod, if there is one to tell.
    """

    reason: str
    operations: Sequence[Mapping[str, Any]] = ()
    warning: str | None = None


def read_request(body: bytes | bytearray) -> AdmissionRequest:
    """The request of an AdmissionReview in JSON. Raises `UnreadableReviewError`."""
    try:
        review = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # Not its own message: it may quote the pod.
        raise UnreadableReviewError(
            "the body is not JSON; only an API server should call this path"
        ) from None
    review = _mapping(review)
    api_version, request = review.get("apiVersion"), _mapping(review.get("request"))
    uid = request.get("uid")
    if not (
        review.get("kind") == "AdmissionReview"
        and isinstance(api_version, str)
        and api_version.startswith(_GROUP)
        and isinstance(uid, str)
        and uid
    ):
        raise UnreadableReviewError(
            "the body is not an AdmissionReview of admission.k8s.io with a request and its uid; "
            "only an API server should call this path"
        )
    obstacle = _obstacle(api_version, request)
    namespace = request.get("namespace")
    return AdmissionRequest(
        api_version=api_version,
        uid=uid,
        namespace=namespace if isinstance(namespace, str) else "",
        # Whatever it is: an effect too few is better than one too many.
        is_dry_run=bool(request.get("dryRun")),
        pod={} if obstacle else _mapping(request.get("object")),
        obstacle=obstacle,
    )


def answer(request: AdmissionRequest, result: ReviewResult) -> bytes:
    """The AdmissionReview that answers `request`, in JSON.

    It has the request's version and uid, without which the API server refuses it.
    """
    response: dict[str, Any] = {
        "uid": request.uid,
        "allowed": True,
        "auditAnnotations": {"reason": result.reason},
    }
    if result.operations:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(result.operations)).decode()
    if result.warning:
        # Sent as an HTTP header: a control character would make all of it invalid.
        shown = "".join(letter if letter.isprintable() else " " for letter in result.warning)
        response["warnings"] = [f"sidelight: {shown}"[:_MAX_WARNING_CHARACTERS]]
    return msgspec.json.encode(
        {"apiVersion": request.api_version, "kind": "AdmissionReview", "response": response}
    )


def _obstacle(api_version: str, request: Mapping[str, Any]) -> Obstacle | None:
    if api_version != _VERSION:
        return Obstacle.VERSION
    resource = _mapping(request.get("resource"))
    creates_pod = (
        request.get("operation") == "CREATE"
        and (resource.get("group"), resource.get("resource")) == ("", "pods")
        and not request.get("subResource")
    )
    if not creates_pod:
        return Obstacle.RESOURCE
    pod = request.get("object")
    if not isinstance(pod, dict):
        return Obstacle.MALFORMED
    return Obstacle.DEPTH if _is_deeper(pod, MAX_DEPTH) else None


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether it nests lists and mappings deeper than `levels`. Works level by level."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
