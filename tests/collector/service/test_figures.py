"""Tokens, cost, delays and drift of a running collector, scraped by a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as names
from support.collector import Collector, settings
from support.measured_spans import search
from support.prometheus import Prometheus, run_prometheus
from support.spans import Made, request, trace_id
from support.waiting import eventually

pytestmark = pytest.mark.real("prometheus")

TOKENS = f"{names.prometheus_name(names.TOKENS)}_total"
COST = f"{names.prometheus_name(names.COST)}_total"
DELAY = names.prometheus_name(names.REQUEST_DELAY)
SEARCHES = f"{names.prometheus_name(names.RETRIEVAL_SEARCHES)}_total"
TRACE_ID = trace_id("trace").hex()
USAGE = {names.INPUT_TOKENS: 1000, names.OUTPUT_TOKENS: 500, names.CACHED_TOKENS: 800}


def sent() -> bytes:
    """An application's trace: a search, a call of a model, and the server that answered it."""
    call: dict[str, Any] = {
        names.OPERATION: "chat",
        names.REQUEST_MODEL: "tiny",
        names.RESPONSE_ID: "chatcmpl-1",
        **USAGE,
    }
    served: dict[str, Any] = {
        names.SPAN_KIND: "LLM",
        names.REQUEST_MODEL: "tiny",
        names.RESPONSE_ID: "chatcmpl-1",
        names.ENGINE_REQUEST_ID: "chatcmpl-1",
        names.QUEUE_TIME: 0.5,
        names.PREFILL_TIME: 0.25,
        names.DECODE_TIME: 1.0,
        names.DELAY_SECONDS["frontend"]: 0.25,
        names.DELAY_SECONDS["queue"]: 0.5,
        names.DELAY_SECONDS["prefill"]: 0.25,
        names.DELAY_SECONDS["decode"]: 0.5,
        names.DELAY_SECONDS["interference"]: 0.5,
        **USAGE,
    }
    made = request(
        Made("search", parent="ask", scope=names.SCOPE_VECTORDB, attributes=search(0.8)),
        Made("call", parent="ask", service="app", attributes=call),
        Made(
            "served",
            parent="http",
            service="vllm",
            scope=names.SCOPE_VLLM,
            attributes=served,
            seconds=2.0,
        ),
    )
    made.resource_spans[2].scope_spans[0].spans[0].kind = Span.SPAN_KIND_SERVER
    return made.SerializeToString()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder: Path = tmp_path_factory.mktemp("figures")
    prices = folder / "prices.yaml"
    prices.write_text(
        yaml.safe_dump(
            {"prices": [{"model": "tiny", "input_per_million": 1, "output_per_million": 2}]}
        )
    )
    config = settings(folder, processors={"prices": str(prices)})
    with Collector(config, folder) as collector:
        scrape = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {
                    "job_name": "sidelight",
                    "static_configs": [{"targets": [f"127.0.0.1:{collector.serve_port}"]}],
                }
            ],
        }
        with run_prometheus(scrape, folder / "prometheus") as running:
            # Twice, as a sender does that did not hear the answer.
            for _ in range(2):
                assert collector.post(sent())[0] == 200
            running.wait_for(TOKENS)
            yield running


def test_client_and_server_of_a_call_count_once(prometheus: Prometheus) -> None:
    """Both have usage and cost, and an HTTP span of the application is between them."""
    tokens = prometheus.wait_for(f"sum by (gen_ai_token_type) ({TOKENS})")
    assert {each.labels["gen_ai_token_type"]: each.value for each in tokens} == {
        "input": 1000,
        "output": 500,
        "cached": 800,
    }
    (cost,) = prometheus.wait_for(COST)
    assert cost.value == pytest.approx(0.002)
    assert cost.labels["currency"] == "USD"


def test_causes_add_up_to_the_duration(prometheus: Prometheus) -> None:
    """As the plugin found them; a cause that took no time is 0."""
    causes = prometheus.wait_for(f"sum by (cause) ({DELAY}_sum)")
    assert {each.labels["cause"]: each.value for each in causes} == pytest.approx(
        dict.fromkeys(names.DELAY_SECONDS, 0.0)
        | {"frontend": 0.25, "queue": 0.5, "prefill": 0.25, "decode": 0.5, "interference": 0.5}
    )


@pytest.mark.parametrize("expression", [TOKENS, COST, f"{DELAY}_bucket", SEARCHES])
def test_every_figure_leads_to_the_trace(prometheus: Prometheus, expression: str) -> None:
    """Prometheus stores exemplars of counters as well as of histograms."""
    found = prometheus.query_exemplars(expression)
    marks = {mark["labels"]["trace_id"] for series in found for mark in series["exemplars"]}
    assert marks == {TRACE_ID}


def test_drift_is_absent_while_it_is_unknown(prometheus: Prometheus) -> None:
    """And Prometheus has nothing to complain of on the page."""
    assert prometheus.wait_for(SEARCHES)[0].value == 1
    assert prometheus.query(names.prometheus_name(names.RETRIEVAL_DRIFT)) == []
    # A scrape has a second, which a busy collector may miss.
    eventually(lambda: prometheus.unhealthy_targets() == {})
