"""Whether certificates and tokens can be used, without a start to find out."""

from __future__ import annotations

import ssl

from sidelight.base.auth.guard import Guard
from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.server import make_context
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.doctor.check import Check

NAME = "certificates and tokens"


def check(config: Config) -> Check:
    """Reads all of them as a start would."""
    receive, serve = config.receive, config.serve
    secured = [
        (name, section.tls)
        for name, section, is_used in (
            ("receive.otlp_http", receive.otlp_http, receive.otlp_http.enabled),
            ("receive.otlp_grpc", receive.otlp_grpc, receive.otlp_grpc.enabled),
            ("serve", serve, True),
        )
        if is_used and section.tls is not None
    ]
    try:
        for name, tls in secured:
            make_context(tls, name, ssl.CERT_REQUIRED)
        Guard(receive.tokens, "receive.tokens", receive.langfuse.keys)
        Guard(serve.tokens, "serve.tokens")
    except ConfigError as error:
        return Check(NAME, "fail", str(error), "Correct it: the service does not start with it.")
    over = ", ".join(name for name, _ in secured) or "none"
    asked = "asked for" if receive.tokens or receive.langfuse.keys else "not asked for"
    return Check(NAME, "ok", f"TLS on: {over}; tokens or keys of senders: {asked}")
