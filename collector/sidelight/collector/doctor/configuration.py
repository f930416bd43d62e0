"""Checks a valid configuration for mistakes: shared ports, no destination, open ports."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.listening import is_loopback
from sidelight.collector.app.access import has_credentials
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.listeners import Listener, listeners
from sidelight.collector.destinations.registry import AnyDestination


def check(config: Config, destinations: tuple[AnyDestination, ...]) -> Check:
    """Show where data is sent, and warn if other machines can send or read without credentials."""
    name = "configuration"
    used = listeners(config)
    # Port 0 is a different free port for each listener.
    addresses = [(listener.host, listener.port) for listener in used if listener.port]
    shared = next((address for address in addresses if addresses.count(address) > 1), None)
    if shared is not None:
        sharing = (listener.key for listener in used if (listener.host, listener.port) == shared)
        found = f"{' and '.join(sharing)} have the same port, {shared[1]}"
        return Check(name, "fail", found, "Give each its own port.")
    names = ", ".join(f"{destination.name} ({destination.place})" for destination in destinations)
    if not destinations:
        return Check(
            name,
            "warn",
            "no destination: data is stored and not delivered",
            "Start Phoenix on localhost, set Langfuse's keys, or configure destinations.",
        )
    exposed = ", ".join(
        f"{listener.key} ({listener.host})"
        for listener in used
        if not _is_guarded(config, listener) and not is_loopback(listener.host)
    )
    if exposed:
        return Check(
            name,
            "warn",
            f"sends to {names}; open to other machines without credentials: {exposed}",
            "Set host to 127.0.0.1, set tokens or a client CA (docs/receiving.md), or restrict "
            "these ports to the senders' network.",
        )
    return Check(name, "ok", f"sends to {names}")


def _is_guarded(config: Config, listener: Listener) -> bool:
    """Whether clients must show a token, a key pair or a certificate."""
    if listener.asks_for_certificate:
        return True
    if listener.key == "serve":
        return bool(config.serve.tokens)
    return has_credentials(config)
