"""Whether Splunk's event collector is there and accepts the token."""

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
    """Send it no event: HEC looks at the token first, and then says that nothing came."""
    exporter = build(config)
    try:
        answer = await exporter.post(EVENT_PATH, b"", {"Content-Type": "application/json"})
    except ConfigError as error:
        return misconfigured(name, error)
    except NoAnswerError as error:
        advice = "The url is host and port of the event collector, usually port 8088."
        return Check(name, "fail", str(error), advice)
    finally:
        exporter.close()
    place = f"{config.url}{EVENT_PATH}"
    if answer.status == 400 and hec_code(answer) == NO_DATA:
        index = f", index {config.index}" if config.index else ""
        return Check(name, "ok", f"{config.url} accepts the token{index}")
    if answer.status in (401, 403):
        return Check(
            name,
            "fail",
            f"{place} answered {answer.status}: it does not accept the token",
            f"Check {HecToken(config.token).sources}: it must be an enabled HEC token.",
        )
    return Check(
        name,
        "fail",
        f"{place} answered {answer.status}, not as an event collector does",
        "Correct the url: it is host and port alone. Check that HEC is enabled in Splunk.",
    )
