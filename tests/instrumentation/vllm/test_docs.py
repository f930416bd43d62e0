"""The page on vLLM lists every variable, route, attribute, metric and delay cause."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.collector.metrics.delays import CAUSES
from sidelight.instrumentation import settings
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.export.resource import make_resource
from sidelight.instrumentation.vllm.middleware import SidelightMiddleware
from sidelight.instrumentation.vllm.routes import ROUTES
from sidelight.instrumentation.vllm.versions import Versions
from support import asgi
from support.asgi import Client, Receive, Send, events, reply, scope
from support.observed_vllm import Observed, finished
from support.paths import DOCS
from support.vllm_application import QUESTION, USAGE, piece

PAGE = (DOCS / "vllm.md").read_text()
OF_SEQUENCES = ("queue", "prefill", "decode")


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without code marks."""
    (section,) = re.findall(rf"^##+ {heading}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in section.split("\n")
        if line.startswith("| `")
    ]


def listed(heading: str) -> set[str]:
    return {cells[0] for cells in rows(heading)}


def test_variables() -> None:
    """Every variable of Sidelight is in the table with its default, and no other."""
    variables = {
        value
        for key, value in vars(settings).items()
        if key.isupper() and str(value).startswith("SIDELIGHT_")
    }
    table = {cells[0]: cells[1] for cells in rows("Environment variables") if len(cells) == 3}
    assert set(table) == variables
    changed = Settings.from_environment(table)
    assert changed == Settings()
    assert len(variables) == len(fields(Settings))


def test_opentelemetrys_variables() -> None:
    """Those that the settings read are on the page."""
    for variable in (settings.OTEL_CAPTURE_CONTENT, settings.OTEL_DISABLED):
        assert f"`{variable}`" in PAGE


def test_routes() -> None:
    """Every route is there with its operation and kind."""
    assert [tuple(cells) for cells in rows("Routes")] == [
        (route.path, route.operation, route.kind) for route in ROUTES.values()
    ]


def test_delay_causes() -> None:
    """In the order in which the collector counts them."""
    assert [cells[0] for cells in rows("Delay causes")] == list(CAUSES)


def test_every_name_is_listed() -> None:
    """All attributes and metrics that the vLLM part emits."""
    tables = (
        "Server span", "All phases", "Frontend", "Queue, prefill and decode", "Queue", "Prefill",
        "Decode", "Resource",
    )  # fmt: skip
    attributes = set.union(*(listed(heading) for heading in tables))
    emitted = {each.name for each in names.ATTRIBUTES.values() if "vllm" in each.emitters}
    assert attributes == emitted
    assert listed("Metrics") == {
        each.name for each in names.METRICS.values() if "vllm" in each.emitters
    }


async def test_attributes_are_on_the_spans_that_are_said(
    observe: Callable[..., Observed],
) -> None:
    """A request with all there is has the attributes of the tables, and each on its span."""
    observed = observe(capture_content="truncated", max_characters=8)

    async def serving(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        observed.step(running=2)
        observed.step(finished("chatcmpl-7"), running=1)
        usage = {
            **USAGE,
            "prompt_tokens_details": {"cached_tokens": 3, "created_cache_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
        end = {"id": "chatcmpl-7", "choices": [], "usage": usage}
        error = {"error": {"type": "BrokenError", "message": "broken"}}
        chunks = events(piece("a long answer"), piece("", "stop"), end, error)
        await reply(send, *chunks, content_type="text/event-stream")

    sampling = ("top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
    body = QUESTION | {"stream": True, "n": 2} | dict.fromkeys(sampling, 1)
    # No one route takes them all.
    body |= {
        "stop": "end", "response_format": {"type": "text"}, "tools": [{"type": "function"}],
        "dimensions": 8, "encoding_format": "float",
    }  # fmt: skip
    client = Client(body)
    headers = {"x-session-id": "s", "baggage": "tag.tags=a,langfuse.trace.name=n"}
    # What a request met at its arrival is known from the steps before it.
    observed.step(running=1, at=time.monotonic() - 1)
    observed.step(finished("chatcmpl-7"))
    await SidelightMiddleware(serving, observed.runtime)(
        scope(**headers), client.receive, client.send
    )
    spans = observed.spans()
    server = observed.server_span()
    # The client of this request stays to the end, the span counts, and neither engine nor adapter
    # is known.
    never = {
        names.CLIENT_ABORTED,
        names.LANGFUSE_COST,
        names.FRONTEND_WAIT_TIME,
        names.LORA_NAME,
        names.CONVERSATION_ID,
    }
    # A request meets some of the causes only, and not all have an option.
    possible = {*names.DELAY_SECONDS.values(), names.DELAY_OPTION}
    assert set(server.attributes) | possible == listed("Server span") - never
    by_name = {span.name: span for span in spans}
    common = listed("All phases")
    assert set(by_name["frontend"].attributes) == (common | listed("Frontend")) - never
    assert set(by_name["delivery"].attributes) == common
    common |= listed("Queue, prefill and decode")
    for name in OF_SEQUENCES:
        assert set(by_name[name].attributes) == common | listed(name.capitalize())


def test_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the instrumentation says of the service and of itself."""
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(variable, raising=False)
    assert set(make_resource(Versions("0.32.0", "0.1.0"), {})) == listed("Resource")
