"""The doctor's check of a receiver that listens: its port."""

from __future__ import annotations

from functools import partial

from sidelight.base import ports
from sidelight.base.check import on_thread
from sidelight.collector.receivers.common.config import ListenerConfig
from sidelight.collector.receivers.common.type import CheckContext, Look


def port_look(name: str, config: ListenerConfig, context: CheckContext) -> Look:
    """Check that the port of the receiver `name` is free or used by the running Sidelight."""
    key = f"receivers.{name}"
    check = partial(ports.check, key, config.host, config.port, running=context.is_running)
    return key, on_thread(check)
