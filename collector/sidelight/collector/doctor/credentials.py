"""Checks that certificates and tokens can be read and used."""

from __future__ import annotations

import ssl

from sidelight.base.auth.guard import Guard, token_source
from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.base.tls.server import make_context
from sidelight.collector.app.access import sender_guard
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.listeners import listeners

NAME = "certificates and tokens"


def check(config: Config) -> Check:
    """Read all of them, as the service does when it starts."""
    secured = [listener for listener in listeners(config) if listener.tls is not None]
    try:
        for listener in secured:
            assert listener.tls is not None
            make_context(listener.tls, listener.key, ssl.CERT_REQUIRED)
        guard = sender_guard(config)
        Guard([token_source(config.serve.tokens, "serve.tokens")])
    except ConfigError as error:
        return Check(NAME, "fail", str(error), "Correct it: the service does not start with it.")
    keys = ", ".join(listener.key for listener in secured) or "none"
    required = "not required" if guard.is_open else "required"
    return Check(NAME, "ok", f"TLS on: {keys}; credentials of senders: {required}")
