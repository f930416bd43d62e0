"""The check against a real Prometheus: every recorded release, and vLLMs that a change broke."""

from __future__ import annotations

import functools
import re
from functools import partial

import pytest
from click.testing import CliRunner

from sidelight.collector.cli.main import sidelight
from sidelight.dashboards.check import outcomes, prometheus_api
from sidelight.dashboards.check.outcomes import QueryOutcome
from sidelight.dashboards.check.prometheus_api import PrometheusApi
from support.dashboard_prometheus import COLON_BUG, EQUALS, OTHERS, TEST_SECONDS, WINDOW, Servers
from support.ports import free_port

pytestmark = [pytest.mark.real("prometheus"), pytest.mark.timeout(TEST_SECONDS)]


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Prometheus has scraped for seconds, not for minutes."""
    monkeypatch.setattr(outcomes, "_RATE_WINDOW", WINDOW)
    monkeypatch.setattr(prometheus_api, "_TIMEOUT_SECONDS", 120)


# The answers of one moment stay what they are.
@functools.cache
def _check(servers: Servers, job: str) -> list[QueryOutcome]:
    moment = servers.everything
    return outcomes.check(PrometheusApi(moment.prometheus.base_url, moment.time), job)


def _failing(found: list[QueryOutcome]) -> dict[str, str]:
    return {
        f"{outcome.query.kind} {outcome.query.place}": outcome.reason
        for outcome in found
        if outcome.state == "fails"
    }


@pytest.mark.parametrize("job", [*EQUALS, *COLON_BUG, *OTHERS, "idle"])
def test_every_release_passes(servers: Servers, job: str) -> None:
    """Under every name and prefix, busy or idle; what a release does not export is not used."""
    found = _check(servers, job)
    assert _failing(found) == {}
    assert outcomes.all_is_well(found)


@pytest.mark.parametrize("job", EQUALS)
def test_panels_of_a_busy_service_return_data(servers: Servers, job: str) -> None:
    """No panel and no variable is quiet or unused there."""
    empty = [
        outcome.query.place
        for outcome in _check(servers, job)
        if outcome.query.kind in ("panel", "variable")
        and outcome.state != "answers"
        # GPUs are found by pods, and this server alone has one.
        and ("DCGM_" not in str(outcome.query.expression) or job == "on-kubernetes")
        and not outcome.reason.startswith(
            ("vllm:", "no metric of process", "no metric of KV events")
        )
    ]
    assert empty == []


def test_what_a_release_lacks_is_named(servers: Servers) -> None:
    """With the release that has it, and the ones that this one looks like."""
    reasons = {outcome.reason for outcome in _check(servers, "0.13.0") if outcome.state == "unused"}
    assert (
        "vllm:admission_rejections_total is exported since vLLM 0.32.0; this one looks like 0.13.0"
    ) in reasons


@pytest.mark.parametrize(
    ("job", "place", "reason"),
    [
        (
            "renamed",
            "alert SidelightQueueGrowing",
            "vllm:num_requests_waiting is absent; vllm:num_requests_waitings is there: was it",
        ),
        (
            "without-total",
            "alert SidelightPreemptionsHigh",
            "vllm:num_preemptions_total is absent; vllm:num_preemptions is there: was it renamed?",
        ),
        (
            "another-prefix",
            "variable Sidelight / Overview / $model",
            "vllm:num_requests_running is there as kserve_vllm:num_requests_running: ",
        ),
        (
            "another-label",
            "panel Sidelight / Overview / KV-cache usage",
            "vllm:kv_cache_usage_perc has no label model_name",
        ),
        (
            "another-bucket",
            "rule sidelight:slo_bad_events:rate5m inter-token-latency",
            "vllm:inter_token_latency_seconds has no bucket that ends at 0.1",
        ),
    ],
)
def test_a_change_is_noticed(servers: Servers, job: str, place: str, reason: str) -> None:
    """A renamed metric, a dropped `_total`, a prefix, a label, a bucket: each is told apart."""
    failing = _failing(_check(servers, job))
    assert any(name.startswith(place) and text.startswith(reason) for name, text in failing.items())


def test_a_prefix_is_a_setting(servers: Servers) -> None:
    """KServe's PodMonitor puts `kserve_` before every name: with the option all is found."""
    moment = servers.everything
    api = PrometheusApi(moment.prometheus.base_url, moment.time)
    found = outcomes.check(api, "another-prefix", metric_prefix="kserve_")
    assert _failing(found) == {}
    [variable] = [one for one in found if one.query.place == "Sidelight / Overview / $model"]
    assert variable.state == "answers"


def test_nothing_at_all_is_not_well(servers: Servers) -> None:
    """A Prometheus that scrapes something else: all is unused, and that is a fault."""
    found = [outcome for outcome in _check(servers, "nowhere") if outcome.state == "unused"]
    assert found
    assert not outcomes.all_is_well(found)
    assert any("no metric of vLLM" in line for line in outcomes.report(found))


def test_the_command_reports_and_exits(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 where all can return data, 1 with one line for each query that cannot."""
    moment = servers.everything
    address = moment.prometheus.base_url
    # By now a scrape may have been missed.
    monkeypatch.setattr(prometheus_api, "PrometheusApi", partial(PrometheusApi, at=moment.time))
    good = CliRunner().invoke(
        sidelight, ["dashboards", "check", "--prometheus", address, "--job", "0.32.0"]
    )
    assert good.exit_code == 0, good.output
    assert re.search(r"\d+ queries of panels, \d+ variables", good.output)
    bad = CliRunner().invoke(
        sidelight, ["dashboards", "check", "--prometheus", address, "--job", "without-total"]
    )
    assert bad.exit_code == 1
    assert "FAILS panel Sidelight / Overview / Preemptions" in bad.output


def test_a_prometheus_that_does_not_answer_is_one_sentence() -> None:
    """With its address and what to do."""
    address = f"http://127.0.0.1:{free_port()}"
    answer = CliRunner().invoke(sidelight, ["dashboards", "check", "--prometheus", address])
    assert answer.exit_code == 1
    [line] = answer.output.splitlines()
    assert address in line
    assert line.endswith("correct the address")
