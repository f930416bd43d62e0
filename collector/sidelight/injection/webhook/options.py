"""What `sidelight injector` is told to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SuppliedCertificate:
    """A certificate in files, by cert-manager or others."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class SelfSignedCertificate:
    """A certificate that the injector makes, keeps in a Secret and renews."""

    secret: str
    service: str
    configuration: str
    days: int


@dataclass(frozen=True, slots=True)
class InjectorOptions:
    """All options. `settings`: the file with what is injected; None: that of the package."""

    host: str
    port: int
    serve_host: str
    serve_port: int
    settings: Path | None
    certificate: SuppliedCertificate | SelfSignedCertificate
    writes_events: bool
    drain_seconds: float
    service_account: Path
