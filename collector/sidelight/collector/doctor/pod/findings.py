"""What the doctor says of a pod, from what the log told. Pure: times are given."""

from __future__ import annotations

from sidelight.base.check import Check
from sidelight.collector.app.plugin_watch import MAX_SILENT_SECONDS, WHERE_TO_LOOK
from sidelight.collector.doctor.pod.plugins import Heard, Plugin

MAX_LAG_SECONDS = 60.0
_NS = 1_000_000_000


def plugin(heard: Heard, own_version: str | None, now_ns: int) -> Check:
    """The loader's verdict: what has sent was loaded."""
    name = "plugin"
    newest = heard.newest()
    if newest is None:
        others = f"; other senders: {', '.join(sorted(heard.others)[:3])}" if heard.others else ""
        reach = f" since {ago(heard.since_ns, now_ns)}" if heard.since_ns is not None else ""
        return Check(
            name, "fail", f"nothing received from vLLM's plugin{reach}{others}", WHERE_TO_LOOK
        )
    found = (
        f"Sidelight {newest.sidelight} in vLLM {newest.vllm}, service {newest.service}, "
        f"heard {ago(newest.heard_ns, now_ns)}"
    )
    if now_ns - newest.heard_ns > MAX_SILENT_SECONDS * _NS:
        return Check(
            name,
            "fail",
            found,
            "It sends every 15 s while vLLM runs. Look into the log of vLLM's container, and of "
            "the one before if it was restarted.",
        )
    if own_version is not None and newest.sidelight != own_version:
        return Check(
            name,
            "warn",
            f"{found}; this collector is {own_version}",
            "Start the pod again: it gets both in one version.",
        )
    return Check(name, "ok", found)


def last_span(newest: Plugin | None, now_ns: int) -> Check:
    """The last request that was observed."""
    name = "last span"
    if newest is None:
        return Check(name, "warn", "none in the log")
    if not newest.span_ns:
        return Check(name, "warn", "none in the log", "Send vLLM a request, and run this again.")
    return Check(name, "ok", f"{newest.span}, {ago(newest.span_ns, now_ns)}")


def last_step(newest: Plugin | None, now_ns: int) -> Check:
    """The last engine step that was observed."""
    name = "last step"
    if newest is None:
        return Check(name, "warn", "none in the log")
    if not newest.step_ns:
        return Check(
            name,
            "warn",
            "none in the log",
            "Send vLLM a request. With --disable-log-stats there are no steps.",
        )
    return Check(name, "ok", f"{newest.steps:,} steps, the last {ago(newest.step_ns, now_ns)}")


def delivery(subscription: str, items: int, oldest_ns: int | None, now_ns: int) -> Check:
    """How far a destination is behind: items, and when the oldest of them was stored."""
    name = f"to {subscription}"
    if oldest_ns is not None and now_ns - oldest_ns > MAX_LAG_SECONDS * _NS:
        found = f"{items:,} items not delivered, the oldest stored {ago(oldest_ns, now_ns)}"
        return Check(name, "warn", found, "Run `sidelight doctor`, which asks the destination why.")
    return Check(name, "ok", f"{items:,} items to deliver")


def no_destination() -> Check:
    """Nothing leaves the pod."""
    advice = "Name the gateway in SIDELIGHT_DESTINATIONS, or in the configuration."
    return Check("destinations", "fail", "none: nothing leaves this pod", advice)


def ago(time_ns: int | None, now_ns: int) -> str:
    """How long ago a time was, in one unit."""
    seconds = max(0.0, (now_ns - (time_ns or 0)) / _NS)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
