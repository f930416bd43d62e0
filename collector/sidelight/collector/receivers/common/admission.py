"""Admission of requests by their headers: the sender's identity, tenant and project."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from sidelight import conventions as c
from sidelight.base.auth.config import ANY_TENANT
from sidelight.base.auth.guard import Guard, Identity, Reason
from sidelight.collector.metrics.instruments import Counter
from sidelight.otlp.signals import Signal
from sidelight.otlp.stamp import Stamp

AUTHORIZATION: Final = "authorization"
PROJECT_HEADER: Final = "x-project-name"
"""Phoenix's header for the project of traces. It wins over the resource attribute."""
# The value goes into every resource of a request.
MAX_PROJECT_CHARACTERS: Final = 256

WHY: Final[Mapping[Reason, str]] = {
    "missing": "credentials are required: send the header Authorization: Bearer TOKEN",
    "scheme": "the Authorization header must be Bearer TOKEN, or Basic with Langfuse's keys",
    "unknown": "the token or key pair is not valid",
    "certificate": "a client certificate is required",
}


class NotAdmittedError(Exception):
    """The sender is refused, because of `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(WHY[reason])
        self.reason: Reason = reason


class ProjectError(ValueError):
    """The name of a project is too long."""


class Admission:
    """Identifies senders for all receivers, and counts those it refuses."""

    def __init__(self, guard: Guard, unauthorized: Counter) -> None:
        """`unauthorized` counts by protocol and reason."""
        self._guard = guard
        self._unauthorized = unauthorized

    @property
    def is_open(self) -> bool:
        """Whether every sender is accepted."""
        return self._guard.is_open

    def identify(self, protocol: str, authorization: str | None) -> Identity | None:
        """The sender; None if no credentials are required. Raises `NotAdmittedError`."""
        if self._guard.is_open:
            return None
        identity = self._guard.identify(authorization)
        if isinstance(identity, Identity):
            return identity
        self._unauthorized.labels(protocol, identity).inc()
        raise NotAdmittedError(identity)


def stamp(signal: Signal, identity: Identity | None, project: str | None) -> Stamp | None:
    """The attributes to set on the resources of a request; None if there are none.

    Raises `ProjectError`.
    """
    tenant = ANY_TENANT if identity is None else identity.tenant
    # Phoenix has projects for traces only.
    if signal != "traces" or not project:
        project = None
    elif len(project) > MAX_PROJECT_CHARACTERS:
        raise ProjectError(f"{PROJECT_HEADER} has more than {MAX_PROJECT_CHARACTERS} characters")
    return _stamp(tenant, project)


# A few tenants and projects send all requests: a stamp is serialised once for each.
@lru_cache(maxsize=512)
def _stamp(tenant: str | None, project: str | None) -> Stamp | None:
    # A tenant of None removes the attribute: a sender cannot claim another tenant's name.
    attributes: dict[str, str | None] = {} if tenant == ANY_TENANT else {c.TENANT: tenant}
    if project is not None:
        attributes[c.PROJECT_NAME] = project
    return Stamp(attributes) if attributes else None
