"""When the injector is ready, and what it says when it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.metrics.exposition import Exposition
from sidelight.collector.metrics.page import Families
from sidelight.injection.webhook.certificates.pair import make
from sidelight.injection.webhook.certificates.served import (
    CertificateSource,
    LatestPair,
    expiry_seconds,
    from_files,
)
from sidelight.injection.webhook.health import InjectorHealth

NAMES = ["injector.monitoring.svc"]


def health(source: CertificateSource, distrust: str | None = None) -> InjectorHealth:
    """Of an injector with this certificate."""
    return InjectorHealth(Exposition(Families), source, lambda: distrust)


def served(days_ago: int) -> LatestPair:
    """A certificate that was made so many days ago, for 90 days."""
    latest = LatestPair()
    latest.serve(make(NAMES, 90, datetime.now(UTC) - timedelta(days=days_ago)))
    return latest


async def test_it_is_ready_with_a_certificate_that_is_trusted() -> None:
    """Only then does the API server get answers that it takes."""
    assert await health(served(1).current).readiness() == (True, {"status": "ready"})
    for source, distrust, status in (
        (LatestPair().current, None, "there is no certificate yet"),
        (served(1).current, "not in caBundle", "not in caBundle"),
        (served(91).current, None, "the certificate has expired: renew it"),
    ):
        assert await health(source, distrust).readiness() == (False, {"status": status})


async def test_it_is_not_ready_while_it_drains() -> None:
    """And alive all the time."""
    draining = health(served(1).current)
    draining.is_draining = True
    assert await draining.readiness() == (False, {"status": "draining"})
    assert await draining.trouble() is None


def test_the_expiry_is_shown_once_it_is_known() -> None:
    """A series that says 1970 would set off every alert on it."""
    latest = LatestPair()
    assert expiry_seconds(latest.current) != expiry_seconds(latest.current)
    latest.serve(make(NAMES, 90, datetime.now(UTC)))
    expected = (datetime.now(UTC) + timedelta(days=90)).timestamp()
    assert expiry_seconds(latest.current) == pytest.approx(expected, abs=60)


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    """By the option that names them."""
    pair, other = (make(NAMES, 90, datetime.now(UTC)) for _ in range(2))
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(other.key)
    with pytest.raises(ConfigError, match=f"--key: {key} does not belong to the certificate"):
        from_files(certificate, key)
    key.write_text("text")
    with pytest.raises(ConfigError, match=f"--key: {key} does not hold a private key"):
        from_files(certificate, key)
