"""The doctor's check of Splunk HEC: it answers and accepts the token."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.base.http_client.client import NoAnswerError
from sidelight.collector.destinations.common.check import misconfigured
from sidelight.collector.destinations.splunk_hec.config import SplunkHecDestination
from sidelight.collector.destinations.splunk_hec.exporter import (
    EVENT_PATH,
    NO_DATA,
    HecToken,
    build,
    hec_code,
)


async def check(name: str, config: SplunkHecDestination) -> Check:
    """Send a request without events. HEC checks the token first, then says that data is missing."""
    exporter = build(config)
    try:
        answer = await exporter.post(EVENT_PATH, b"", {"Content-Type": "application/json"})
    except ConfigError as error:
        return misconfigured(name, error)
    except NoAnswerError as error:
        advice = "The url is the host and port of the event collector, usually port 8088."
        return Check(name, "fail", str(error), advice)
    finally:
        exporter.close()
    # There is no endpoint that only checks a token: /health answers without one.
    place = f"{config.url}{EVENT_PATH}"
    if answer.status == 400 and hec_code(answer) == NO_DATA:
        index = f", index {config.index}" if config.index else ""
        return Check(name, "ok", f"{config.url} accepts the token{index}")
    if answer.status in (401, 403):
        return Check(
            name,
            "fail",
            f"{place} answered {answer.status}: the token is not valid",
            f"Set {HecToken(config.token).sources} to an enabled HEC token.",
        )
    return Check(
        name,
        "fail",
        f"{place} answered {answer.status}, unlike an event collector",
        "Correct the url: it is host and port only. Check that HEC is enabled in Splunk.",
    )
