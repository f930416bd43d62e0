"""Finds a Sidelight that already runs with this configuration, by its /metrics."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from functools import partial

from sidelight import conventions as names
from sidelight.base.auth import tokens
from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import run_in_thread
from sidelight.base.http_client.client import Answer, HttpClient, NoAnswerError
from sidelight.base.tls.config import Tls
from sidelight.collector.app.configuration.serve import Serve
from sidelight.collector.receivers.scrape.check import sample_names

_OWN = names.COLLECTOR_LAG.rpartition(".")[0]
_MAX_BYTES = 32 * 1024 * 1024
_PATH = "/metrics"
# One listens on all interfaces, but cannot connect to "all".
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@dataclass(frozen=True, slots=True)
class Own:
    """A running Sidelight. `exposition` is None if reading it needs a client certificate."""

    exposition: Answer | None


async def look(serve: Serve, timeout_seconds: float) -> Own | None:
    """The Sidelight on the port of /metrics; None if nothing or something else answers."""
    answer = await _ask(serve, timeout_seconds)
    if answer is None:
        return None
    if answer.status == 403 and serve.tls is not None and serve.tls.client_ca is not None:
        # The server has the configured certificate, so it is ours.
        return Own(None)
    ours = tuple(names.prometheus_name(name) for name in names.METRICS if name.startswith(_OWN))
    is_ours = any(name.startswith(ours) for name in sample_names(answer.body))
    return Own(answer) if answer.status == 200 and is_ours else None


async def _ask(serve: Serve, timeout_seconds: float) -> Answer | None:
    host = own_address(serve.host)
    try:
        credential = await run_in_thread(partial(_first_token, serve), "sidelight-secrets")
        headers = {} if credential is None else {"Authorization": credential[0]}
        if serve.tls is not None:
            ask = partial(_over_tls, host, serve.port, serve.tls, headers, timeout_seconds)
            return await run_in_thread(ask, "sidelight-check")
    except (ConfigError, OSError, http.client.HTTPException):
        return None
    place = f"[{host}]" if ":" in host else host
    client = HttpClient(f"http://{place}:{serve.port}", timeout_seconds, _MAX_BYTES)
    try:
        return await client.get(_PATH, headers)
    except NoAnswerError:
        return None
    finally:
        client.close()


def own_address(host: str) -> str:
    """Where this machine reaches what listens on `host`."""
    return _LOOPBACK.get(host, host)


def _first_token(serve: Serve) -> tuple[str, object] | None:
    return next(tokens.of_tokens(serve.tokens, "serve.tokens"), None)


def _over_tls(
    host: str, port: int, tls: Tls, headers: dict[str, str], timeout_seconds: float
) -> Answer:
    """Ask over TLS. Trusts the configured certificate and no other, whatever its host name."""
    # The token must not go to another process that listens on the port.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(tls.certificate)
    connection = http.client.HTTPSConnection(host, port, timeout=timeout_seconds, context=context)
    try:
        connection.request("GET", _PATH, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, {}, answer.read(_MAX_BYTES))
    finally:
        connection.close()
