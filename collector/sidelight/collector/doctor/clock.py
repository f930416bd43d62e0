"""Checks this machine's clock against the clocks of the destinations."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime

from sidelight.base.check import Check
from sidelight.base.http_client.client import HttpClient, NoAnswerError
from sidelight.collector.destinations.common.config import UrlDestination
from sidelight.collector.destinations.registry import AnyDestination

MAX_SKEW_SECONDS = 5.0
_NAME = "clock"


async def check(destinations: tuple[AnyDestination, ...], timeout_seconds: float) -> Check:
    """Compare it with the Date header of each destination that answers; the largest skew counts.

    A skew shows in traces of several machines: children start before their parents.
    """
    urls = [config.url for config in destinations if isinstance(config, UrlDestination)]
    measured = await asyncio.gather(*(skew_seconds(url, timeout_seconds) for url in urls))
    pairs = zip(urls, measured, strict=True)
    skews = {url: skew for url, skew in pairs if skew is not None}
    if not skews:
        return Check(_NAME, "ok", "not compared: no destination sent its time")
    url, worst = max(skews.items(), key=lambda pair: abs(pair[1]))
    if abs(worst) > MAX_SKEW_SECONDS:
        side = "behind" if worst > 0 else "ahead of"
        return Check(
            _NAME,
            "warn",
            f"{abs(worst):.0f} s {side} that of {url}",
            "Set both clocks by NTP. Otherwise spans of several machines do not line up.",
        )
    return Check(_NAME, "ok", f"agrees with {', '.join(skews)}")


async def skew_seconds(url: str, timeout_seconds: float) -> float | None:
    """How far the clock at `url` is ahead of ours, to about a second; None if it does not say."""
    client = HttpClient(url, timeout_seconds)
    before = time.time()
    try:
        sent = (await client.get("/")).headers.get("date")
        after = time.time()
        # A Date is truncated to whole seconds, which is half a second on average.
        theirs = parsedate_to_datetime(sent).timestamp() + 0.5 if sent else None
    except (NoAnswerError, TypeError, ValueError, OverflowError):
        return None
    finally:
        client.close()
    if theirs is None:
        return None
    # An answer that took long was given at some time in between.
    return max(0.0, theirs - after) + min(0.0, theirs - before)
