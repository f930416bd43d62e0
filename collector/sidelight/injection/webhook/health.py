"""Liveness, readiness and metrics of the injector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidelight.collector.metrics.exposition import Exposition
from sidelight.injection.webhook.certificates.served import CertificateSource


class InjectorHealth:
    """Answers the probes. Ready means that an API server would trust the webhook's answers."""

    def __init__(
        self,
        exposition: Exposition,
        certificate: CertificateSource,
        distrust: Callable[[], str | None],
    ) -> None:
        """`distrust` returns why API servers do not trust the certificate; None if they do."""
        self._exposition = exposition
        self._certificate = certificate
        self._distrust = distrust
        self.is_draining = False

    async def metrics(self, accept: str | None) -> tuple[str, bytes]:
        """Content type and exposition for an Accept header."""
        return self._exposition.render(accept)

    async def trouble(self) -> str | None:
        """None: a process that answers needs no restart."""
        # A missing certificate is not cured by one; the keeper goes on trying.
        return None

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and why not."""
        state = self._state()
        return state == "ready", {"status": state}

    def _state(self) -> str:
        served = self._certificate()
        if self.is_draining:
            return "draining"
        if served is not None and served.has_expired:
            return "the certificate has expired: renew it"
        distrust = self._distrust()
        if distrust is not None:
            return distrust
        return "ready" if served is not None else "there is no certificate yet"
