"""Alerts on the injector: can the API server call it?"""

from __future__ import annotations

from typing import Final

from sidelight.dashboards import promql
from sidelight.dashboards.alerts.alert import AS_SECONDS, Alert, AlertGroup
from sidelight.dashboards.queries import injector
from sidelight.dashboards.view import View

# A self-signed certificate is renewed four months before it expires, one of cert-manager's
# usually 30 days before: at 14 days renewing has failed, and there is time to find out why.
_RENEWED_BY_SECONDS: Final = 14 * 86_400


def group(view: View) -> AlertGroup:
    """Alerts on the injector."""
    return AlertGroup("sidelight-injector", (certificate_expiring(view),))


def certificate_expiring(view: View) -> Alert:
    """The webhook's certificate was not renewed."""
    return Alert(
        "SidelightInjectorCertificateExpiring",
        "ticket",
        f"The certificate of the injector expires in {AS_SECONDS} and was not renewed.",
        "Read the injector's log: it says why the certificate is not renewed.",
        promql.below(injector.certificate_left(view), _RENEWED_BY_SECONDS),
        wait="1h",
        by=(),
        panel="Injector certificate",
        board="sidelight-collector",
    )
