"""The doctor's check of Phoenix: it answers and accepts traces."""

from __future__ import annotations

import re

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.base.http_client.client import NoAnswerError
from sidelight.collector.destinations.common.check import export_nothing, misconfigured
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.phoenix.exporter import VERSION_PATH, build


async def check(name: str, config: PhoenixDestination) -> Check:
    """Ask for its version, and send an empty export."""
    version = await phoenix_version(config, config.timeout_seconds)
    try:
        troubles = await export_nothing(build(config), ("traces",))
    except ConfigError as error:
        return misconfigured(name, error)
    trouble = next(iter(troubles), "")
    # The fault names the source of the key only if the key is the problem.
    if str(config.api_key) in trouble:
        advice = f"Set {config.api_key} to an API key of Phoenix (Settings, API Keys)."
        return Check(name, "fail", trouble, advice)
    if version is None:
        if trouble:
            # The fault itself says whether to start a server or to correct the url.
            return Check(name, "fail", trouble, "Start Phoenix with: phoenix serve")
        return Check(
            name,
            "fail",
            f"{config.url}: the server is not Phoenix",
            "Correct the url.",
        )
    if trouble:
        return Check(name, "fail", trouble, "Check Phoenix's own log and its disk.")
    project = f", project {config.project}" if config.project else ""
    return Check(name, "ok", f"Phoenix {version} at {config.url}{project} accepts traces")


async def phoenix_version(config: PhoenixDestination, timeout_seconds: float) -> str | None:
    """The version of a Phoenix; None if Phoenix does not answer."""
    client = config.http_client(config.url, timeout_seconds)
    try:
        answer = await client.get(VERSION_PATH)
    except NoAnswerError:
        return None
    finally:
        client.close()
    # Any server may answer here: only what looks like a version makes it a Phoenix.
    text = answer.body.decode("ascii", "replace").strip()
    return text if answer.status == 200 and re.fullmatch(r"\d+\.\d[\w.+-]{0,40}", text) else None
