"""The doctor's check of the Langfuse API: its key pairs can be read."""

from __future__ import annotations

from functools import partial

from sidelight.base.auth.guard import Guard
from sidelight.base.check import Check, on_thread
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.receivers.common.type import CheckContext, Look
from sidelight.collector.receivers.langfuse_api.config import LangfuseApi
from sidelight.collector.receivers.langfuse_api.credentials import credentials

_NAME = "receivers.langfuse_api"


def looks(config: LangfuseApi, _context: CheckContext) -> list[Look]:
    """One check, if key pairs are configured."""
    return [(_NAME, on_thread(partial(_check, config)))] if config.keys else []


def _check(config: LangfuseApi) -> Check:
    try:
        Guard([credentials(config)])
    except ConfigError as error:
        return Check(_NAME, "fail", str(error), "Correct it: the service does not start with it.")
    return Check(_NAME, "ok", f"{len(config.keys)} key pairs accepted")
