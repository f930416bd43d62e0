"""The demo against the user's own backends: keys, addresses, and what is read back."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight import conventions as names
from sidelight.demo.app import RagAnswer
from sidelight.demo.backends import backends
from sidelight.demo.langfuse_checks import check_observations
from sidelight.demo.langfuse_query import LangfuseReader
from sidelight.demo.processes import ProcessError
from support.guarded_phoenix import API_KEY, GuardedPhoenix
from support.langfuse import LangfuseStandIn
from support.langfuse_view import observations
from support.spans import Made, request, trace_id

GROUPED = {names.SESSION_ID: "s"}
RESOURCE = {names.DEPLOYMENT_ENVIRONMENT: "demo"}
CALL = Made(
    "chat",
    parent="root",
    attributes={
        **GROUPED, names.SPAN_KIND: "LLM", names.INPUT_TOKENS: 7, names.OUTPUT_TOKENS: 3
    },
    resource=RESOURCE,
)  # fmt: skip
ROOT = Made("root", attributes={**GROUPED, names.SPAN_KIND: "CHAIN"}, resource=RESOURCE)


def answer() -> RagAnswer:
    """An answer whose trace is that of the spans above."""
    told = RagAnswer("why?")
    told.trace_id, told.input_tokens, told.output_tokens = trace_id("trace").hex(), 7, 3
    return told


def seen(exported: ExportTraceServiceRequest) -> dict[str, bool]:
    """The findings on what Langfuse has of a request."""
    with LangfuseStandIn() as server:
        server.rows = observations(exported)
        reader = LangfuseReader(server.url, server.public_key, server.secret_key)
        assert reader.project() == "Stand-in"
        assert reader.link("x") == f"{server.url}/project/prj-1/traces/x"
        told = answer()
        found = check_observations([told], reader.traces([told.trace_id], since_seconds=0))
    return {finding.what: finding.found for finding in found}


def test_a_whole_trace_is_found() -> None:
    """A trace with its tokens once, its session everywhere and one environment is all there is."""
    assert all(seen(request(ROOT, CALL)).values())


@pytest.mark.parametrize(
    ("spans", "missed"),
    [
        ((), ["a trace for every question", "tokens counted once, as the client saw them"]),
        ((ROOT, CALL, Made("server", parent="chat", resource=RESOURCE,
                           attributes=dict(CALL.attributes))),
         ["tokens counted once, as the client saw them"]),
        ((ROOT, CALL, Made("queue", parent="chat", resource=RESOURCE)),
         ["the session on every span"]),
        ((ROOT, CALL, Made("queue", parent="chat", attributes=GROUPED)), ["one environment"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(spans: tuple[Made, ...], missed: list[str]) -> None:
    """Each fault that a user would see in Langfuse is a finding."""
    assert [what for what, found in seen(request(*spans)).items() if not found] == missed


def test_all_pages_are_read() -> None:
    """More than a page of observations is read to its end."""
    many = [Made(f"s{number}") for number in range(1_500)]
    with LangfuseStandIn() as server:
        server.rows = observations(request(*many))
        reader = LangfuseReader(server.url, server.public_key, server.secret_key)
        (found,) = reader.traces([trace_id("trace").hex()], since_seconds=0).values()
    assert len(found) == 1_500


def test_missing_keys_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """--langfuse says which variables it needs."""
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    monkeypatch.delenv("LANGFUSE_SECRET_KEY", raising=False)
    with pytest.raises(ProcessError, match="set LANGFUSE_SECRET_KEY"):
        backends("http://127.0.0.1:1", None, "http://127.0.0.1:2")


def test_backends_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys and addresses are told before any question is asked."""
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "wrong")
    with LangfuseStandIn() as server:
        named = backends("http://127.0.0.1:1", server.url, server.url)
        with pytest.raises(ProcessError, match="check the keys in LANGFUSE_PUBLIC_KEY"):
            named.check_langfuse()
        with pytest.raises(ProcessError, match="--phoenix takes its base URL"):
            named.check_phoenix()
    assert not named.own


@pytest.mark.real("phoenix")
def test_a_phoenix_that_wants_a_key(
    guarded_phoenix: GuardedPhoenix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of the environment opens the user's Phoenix; without it the demo says so."""
    monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
    backends("http://127.0.0.1:1", guarded_phoenix.url, None).check_phoenix()
    monkeypatch.delenv("PHOENIX_API_KEY")
    with pytest.raises(ProcessError, match="a key is read from PHOENIX_API_KEY"):
        backends("http://127.0.0.1:1", guarded_phoenix.url, None).check_phoenix()


def test_where_the_collector_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own Phoenix alone, or the user's and a Langfuse; never a key in the file."""
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-secret")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-secret")
    own = backends("http://127.0.0.1:1", None, None)
    assert [each["url"] for each in own.destinations("p")] == ["http://127.0.0.1:1"]
    both = backends("http://127.0.0.1:1", "http://phoenix/", "http://langfuse/")
    assert [each["url"] for each in both.destinations("p")] == ["http://phoenix", "http://langfuse"]
    assert "secret" not in repr(both.destinations("p"))
