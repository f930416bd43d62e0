"""What a receiver asks of a request's head: who sends it, and for which tenant."""

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
"""Phoenix's: it counts before what the resource says, for traces alone."""
MAX_PROJECT_CHARACTERS: Final = 256

WHY: Final[Mapping[Reason, str]] = {
    "missing": "credentials are needed: send the header Authorization: Bearer TOKEN",
    "scheme": "the Authorization header must be Bearer TOKEN, or Basic with Langfuse's keys",
    "unknown": "the token or key pair is not known here",
    "certificate": "a client certificate is needed",
}


class NotAdmittedError(Exception):
    """The sender is not admitted, for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(WHY[reason])
        self.reason: Reason = reason


class ProjectError(ValueError):
    """A project's name that cannot be used."""


class Admission:
    """Asked by every receiver, with headers whose names are lower case."""

    def __init__(self, guard: Guard, unauthorized: Counter) -> None:
        """`unauthorized` counts by protocol and reason."""
        self._guard = guard
        self._unauthorized = unauthorized

    @property
    def is_open(self) -> bool:
        """Whether every sender is admitted."""
        return self._guard.is_open

    def identify(self, protocol: str, authorization: str | None) -> Identity | None:
        """Who sends; None where nobody is asked. Raises `NotAdmittedError`, and counts it."""
        if self._guard.is_open:
            return None
        found = self._guard.identify(authorization)
        if isinstance(found, Identity):
            return found
        self._unauthorized.labels(protocol, found).inc()
        raise NotAdmittedError(found)


def stamp(signal: Signal, identity: Identity | None, project: str | None) -> Stamp | None:
    """What is to be said of the request's resources, None if nothing.

    Raises `ProjectError`.
    """
    tenant = ANY_TENANT if identity is None else identity.tenant
    if signal != "traces" or not project:
        project = None
    elif len(project) > MAX_PROJECT_CHARACTERS:
        raise ProjectError(f"{PROJECT_HEADER} has more than {MAX_PROJECT_CHARACTERS} characters")
    return _stamp(tenant, project)


@lru_cache(maxsize=512)
def _stamp(tenant: str | None, project: str | None) -> Stamp | None:
    attributes: dict[str, str | None] = {} if tenant == ANY_TENANT else {c.TENANT: tenant}
    if project is not None:
        attributes[c.PROJECT_NAME] = project
    return Stamp(attributes) if attributes else None
