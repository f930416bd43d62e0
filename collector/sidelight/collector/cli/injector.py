"""`sidelight injector`: the webhook that adds Sidelight to pods."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sidelight.collector.cli.options import fail

_FILE = click.Path(path_type=Path, dir_okay=False)
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


# No environment variables: for a Service of the name sidelight-injector, Kubernetes sets
# SIDELIGHT_INJECTOR_PORT to tcp://… in every pod of its namespace.
@click.command(short_help="Run the webhook that adds Sidelight to pods.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the webhook. In a pod: 0.0.0.0, or :: for IPv6.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8443, show_default=True, help="TLS only."
)
@click.option(
    "--serve-host",
    default="127.0.0.1",
    show_default=True,
    help="Address of /metrics, /healthz and /readyz.",
)
@click.option(
    "--serve-port",
    type=click.IntRange(0, 65535),
    default=9464,
    show_default=True,
    help="Plain HTTP.",
)
@click.option(
    "--settings",
    type=_FILE,
    help="What is injected, as `sidelight inject` takes it. A changed file is used at once. "
    "Without it: the defaults of this version.",
)
@click.option(
    "--certificate",
    type=_FILE,
    help="Certificate for the name of the webhook's Service, in PEM, for example from "
    "cert-manager. A changed file is used for new connections.",
)
@click.option("--key", type=_FILE, help="Private key of the certificate.")
@click.option(
    "--self-signed-secret",
    metavar="NAME",
    help="Make a certificate, keep it in this Secret and renew it before it expires. Needs "
    "--service and --webhook-configuration.",
)
@click.option("--service", metavar="NAME", help="The Service in front of the webhook.")
@click.option(
    "--webhook-configuration",
    metavar="NAME",
    help="The MutatingWebhookConfiguration whose caBundle is set.",
)
@click.option(
    "--certificate-days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    help="Validity of a certificate that is made here. It is renewed after two thirds.",
)
@click.option(
    "--events/--no-events",
    default=True,
    help="Write Kubernetes Events that say what was done with pods, or why nothing was.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0, 600),
    default=5.0,
    show_default=True,
    help="How long to go on serving after SIGTERM, until the Service sends no more requests.",
)
@click.option(
    "--service-account",
    type=click.Path(path_type=Path, file_okay=False),
    default=_SERVICE_ACCOUNT,
    help="Folder with the token, ca.crt and namespace of the pod's service account.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="Without it: text on a terminal, else JSON.",
)
def injector(
    host: str,
    port: int,
    serve_host: str,
    serve_port: int,
    settings: Path | None,
    certificate: Path | None,
    key: Path | None,
    self_signed_secret: str | None,
    service: str | None,
    webhook_configuration: str | None,
    certificate_days: int,
    events: bool,
    drain_seconds: float,
    service_account: Path,
    log_level: str,
    log_format: str | None,
) -> None:
    """Run the webhook that adds Sidelight to pods, until Ctrl-C or SIGTERM.

    The chart runs it in clusters without MutatingAdmissionPolicy (before Kubernetes 1.36). The API
    server sends it each new pod that asks, or whose namespace asks, by the label
    sidelight.dev/inject: "true". It answers with the change that `sidelight inject` would make.
    No pod is refused: what cannot be injected is created as it is.

    \b
      POST /inject            for pods that ask by themselves
      POST /inject/namespace  for pods whose namespace asks

    Give it a certificate in one of two ways:

    \b
      sidelight injector --certificate tls.crt --key tls.key
      sidelight injector --self-signed-secret sidelight-injector-tls \\
        --service sidelight-injector --webhook-configuration sidelight-injector

    The second needs the rights to get and update the Secret, and to get and patch the webhook
    configuration. Events need the right to create events. Outside of a cluster, use the first with
    --no-events.

    The environment variables POD_NAME and POD_NAMESPACE name this pod.

    Exit codes: 0 stopped by a signal, 1 cannot start, 2 wrong options, settings or certificate.
    """
    # Imported late, so that --help appears at once.
    from sidelight.base import logging_setup as logs
    from sidelight.injection.webhook.options import (
        InjectorOptions,
        SelfSignedCertificate,
        SuppliedCertificate,
    )

    chosen: SuppliedCertificate | SelfSignedCertificate
    is_supplied = certificate is not None or key is not None
    if is_supplied == (self_signed_secret is not None):
        fail("give either --certificate and --key, or --self-signed-secret", 2)
    if self_signed_secret is not None:
        if service is None or webhook_configuration is None:
            fail("--self-signed-secret needs --service and --webhook-configuration: add both", 2)
        chosen = SelfSignedCertificate(
            self_signed_secret, service, webhook_configuration, certificate_days
        )
    elif certificate is not None and key is not None:
        chosen = SuppliedCertificate(certificate, key)
    else:
        fail("--certificate and --key belong together: add the other", 2)
    from sidelight.injection.webhook.service import serve

    logs.configure(log_level, "json" if log_format == "json" else "text" if log_format else None)
    options = InjectorOptions(
        host=host,
        port=port,
        serve_host=serve_host,
        serve_port=serve_port,
        settings=settings,
        certificate=chosen,
        writes_events=events,
        drain_seconds=drain_seconds,
        service_account=service_account,
    )
    sys.exit(serve(options))
