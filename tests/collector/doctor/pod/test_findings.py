"""What is said of a pod, in every state that it can be in."""

from __future__ import annotations

import pytest

from sidelight.collector.doctor.pod import findings
from sidelight.collector.doctor.pod.plugins import Heard, Plugin

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


def heard(seconds_ago: float, **changes: object) -> Heard:
    """One plugin that was heard so long ago."""
    plugin = Plugin("pod-7", "vllm", "0.32.0", "0.1.0", NOW - int(seconds_ago * SECOND))
    for name, value in changes.items():
        setattr(plugin, name, value)
    return Heard({"pod-7": plugin}, NOW - 3600 * SECOND)


def test_a_plugin_that_reports() -> None:
    """Both versions, the service, and when it was heard last."""
    check = findings.plugin(heard(4), "0.1.0", NOW)
    assert (check.status, check.advice) == ("ok", "")
    assert check.found == "Sidelight 0.1.0 in vLLM 0.32.0, service vllm, heard 4 s ago"


def test_a_plugin_that_is_silent() -> None:
    """It was loaded; now vLLM does not run, or not with it."""
    check = findings.plugin(heard(720), "0.1.0", NOW)
    assert check.status == "fail"
    assert check.found.endswith("heard 12 min ago")
    assert "the log of vLLM's container" in check.advice


def test_two_versions() -> None:
    """An upgrade between the start of the two containers, or two images by hand."""
    check = findings.plugin(heard(1), "0.2.0", NOW)
    assert check.status == "warn"
    assert check.found.endswith("this collector is 0.2.0")


def test_the_newest_plugin_counts() -> None:
    """A container that was restarted has another instance."""
    both = heard(1)
    both.plugins["pod-6"] = Plugin("pod-6", "vllm", "0.31.0", "0.1.0", NOW - 900 * SECOND)
    assert "vLLM 0.32.0" in findings.plugin(both, "0.1.0", NOW).found


@pytest.mark.parametrize("others", [set(), {"app"}])
def test_no_plugin(others: set[str]) -> None:
    """There is nobody to say why, so the doctor says where to look."""
    check = findings.plugin(Heard({}, NOW - 7200 * SECOND, others), "0.1.0", NOW)
    assert check.status == "fail"
    assert check.found.startswith("nothing received from vLLM's plugin since 2 h ago")
    assert check.found.endswith("other senders: app") is bool(others)
    for hint in (
        "'Sidelight: not loaded'", "`python3 -m sidelight_injected`", "PYTHONPATH", "`python -I`",
        "OTEL_EXPORTER_OTLP_ENDPOINT", "VLLM_USE_RUST_FRONTEND",
    ):  # fmt: skip
        assert hint in check.advice


def test_an_empty_log() -> None:
    """The collector has just started."""
    check = findings.plugin(Heard(), "0.1.0", NOW)
    assert (check.status, check.found) == ("fail", "nothing received from vLLM's plugin")


def test_span_and_step() -> None:
    """What was last and when."""
    plugin = heard(
        1, span="vllm chat tiny", span_ns=NOW - 90 * SECOND, steps=1234, step_ns=NOW - 7300 * SECOND
    ).newest()
    assert findings.last_span(plugin, NOW).found == "vllm chat tiny, 90 s ago"
    assert findings.last_step(plugin, NOW).found == "1,234 steps, the last 2 h ago"


def test_no_request_yet() -> None:
    """A server that was just started is in order."""
    plugin = heard(1).newest()
    for check in (findings.last_span(plugin, NOW), findings.last_step(plugin, NOW)):
        assert (check.status, check.found) == ("warn", "none in the log")
        assert "Send vLLM a request" in check.advice


def test_delivery() -> None:
    """What waits a moment is in order; what waits longer has a reason."""
    quick = findings.delivery("gateway", 3, NOW - 2 * SECOND, NOW)
    assert (quick.name, quick.status, quick.found) == ("to gateway", "ok", "3 items to deliver")
    slow = findings.delivery("gateway", 1200, NOW - 300 * SECOND, NOW)
    assert slow.status == "warn"
    assert slow.found == "1,200 items not delivered, the oldest stored 5 min ago"
