"""The section `serve` of sidelight.yaml."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.auth.config import Tokens
from sidelight.base.configuration.section import Host, Port, Section
from sidelight.base.tls.config import Tls


class Serve(Section):
    """The port of /metrics, /healthz and /readyz."""

    host: Host = "127.0.0.1"
    port: Port = 9464
    tls: Tls | None = Field(None, description="none: plain text.")
    tokens: tuple[Tokens, ...] = Field(
        (),
        description="Bearer tokens for /metrics and the report on /readyz. none: every client "
        "may read /metrics, and nobody the report.",
    )
