"""Whether the configuration, valid as it is, asks for something unwise."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.listening import is_loopback
from sidelight.collector.app.access import has_credentials
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.listeners import Listener, listeners
from sidelight.collector.destinations.registry import AnyDestination


def check(config: Config, destinations: tuple[AnyDestination, ...]) -> Check:
    """What goes where, and who can reach it."""
    name = "configuration"
    used = listeners(config)
    places = [(each.host, each.port) for each in used if each.port]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice is not None:
        keys = " and ".join(each.key for each in used if (each.host, each.port) == twice)
        return Check(name, "fail", f"{keys} share port {twice[1]}", "Give each a port of its own.")
    names = ", ".join(f"{each.name} ({each.place})" for each in destinations)
    if not destinations:
        return Check(
            name,
            "warn",
            "no destination: what arrives is stored and goes nowhere",
            "Start Phoenix on localhost, set Langfuse's keys, or name destinations in the file.",
        )
    exposed = ", ".join(
        f"{each.key} ({each.host})"
        for each in used
        if not _is_guarded(config, each) and not is_loopback(each.host)
    )
    if exposed:
        return Check(
            name,
            "warn",
            f"to {names}; open to other machines without authentication: {exposed}",
            "Bind 127.0.0.1, set tokens or a client CA (docs/receiving.md), or let only the "
            "senders' network reach these ports.",
        )
    return Check(name, "ok", f"to {names}")


def _is_guarded(config: Config, listener: Listener) -> bool:
    """Whether a client shows a token, a key pair or a certificate."""
    if listener.asks_for_certificate:
        return True
    if listener.key == "serve":
        return bool(config.serve.tokens)
    return has_credentials(config)
