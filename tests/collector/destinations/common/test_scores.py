"""Numbers on spans as Langfuse scores and as annotations in a real Phoenix."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidelight import conventions as c
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.common.outcome import Delivered, Rejected, Retry
from sidelight.collector.destinations.common.scores import scores
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.langfuse.score_names import score_names
from sidelight.collector.destinations.langfuse.scores import LangfuseScores
from sidelight.collector.destinations.phoenix import annotations as phoenix_annotations
from sidelight.collector.destinations.phoenix.annotations import PhoenixAnnotations
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from support.backend import Backend, Reply, Request
from support.guarded_phoenix import API_KEY, GuardedPhoenix
from support.langfuse import LangfuseStandIn
from support.sending import Sending, opened
from support.spans import Made, new_trace, record, span_id, trace_id

NAMES = [c.TIME_TO_FIRST_TOKEN, c.PREEMPTIONS, c.CLIENT_ABORTED]
SERVED = Made(
    "served",
    attributes={c.TIME_TO_FIRST_TOKEN: 0.25, c.PREEMPTIONS: 2, c.CLIENT_ABORTED: True},
)
OTHER = Made("other", attributes={c.SPAN_KIND: "CHAIN", c.PREEMPTIONS: "many"})


def test_numbers_become_scores() -> None:
    """Each configured attribute that is a number is a score of its span; text is none."""
    found = scores(record(SERVED, OTHER), NAMES)
    assert [(each.name, each.value, each.is_boolean) for each in found] == [
        (c.TIME_TO_FIRST_TOKEN, 0.25, False),
        (c.PREEMPTIONS, 2.0, False),
        (c.CLIENT_ABORTED, 1.0, True),
    ]
    assert {(each.trace_id, each.span_id) for each in found} == {
        (trace_id("trace").hex(), span_id("served").hex())
    }
    assert len({each.id for each in found}) == 3
    assert found == scores(record(SERVED), NAMES)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    with LangfuseStandIn() as server:
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", server.public_key)
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", server.secret_key)
        yield server


async def test_langfuse_gets_traces_and_scores(server: LangfuseStandIn, tmp_path: Path) -> None:
    """Scores have a subscription of their own, with what is selected, and replace themselves."""
    destination = {
        "type": "langfuse",
        "url": server.url,
        "scores": NAMES,
        "drop": [{"names": "hidden"}],
    }
    hidden = Made("hidden", attributes={c.PREEMPTIONS: 9})
    with opened(tmp_path) as log:
        async with Sending(log, destination) as sending:
            sending.append(record(SERVED, OTHER, hidden), record(SERVED))
            await sending.settled()
        assert log.cursor("langfuse.scores").position == log.end
    assert [row.name for row in server.rows] == ["served", "other", "served"]
    assert sorted(
        (each["name"], each["value"], each["dataType"], each["observationId"])
        for each in server.scores.values()
    ) == [
        ("client_aborted", 1.0, "BOOLEAN", span_id("served").hex()),
        ("preemptions", 2.0, "NUMERIC", span_id("served").hex()),
        ("ttft", 0.25, "NUMERIC", span_id("served").hex()),
    ]


async def test_scores_that_fail_never_delay_traces(
    server: LangfuseStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While scores are refused the traces arrive, once each."""
    respond = server.respond

    def broken(request: Request) -> Reply:
        return Reply(500) if request.path == "/api/public/ingestion" else respond(request)

    server.respond = broken
    destination = {"type": "langfuse", "url": server.url, "scores": NAMES}
    with opened(tmp_path) as log:
        async with Sending(log, destination) as sending:
            sending.append(*(record(SERVED) for _ in range(5)))
            await sending.until(lambda: log.cursor("langfuse").position == log.end)
            await sending.until(lambda: sending.tally.counts["langfuse.scores", "retried"] > 1)
    assert len(server.rows) == 5


def langfuse_scores(server: LangfuseStandIn, *names: str) -> LangfuseScores:
    config = {"type": "langfuse", "url": server.url, "scores": names or NAMES}
    return LangfuseScores(LangfuseDestination.model_validate(config))


async def test_a_record_is_one_request(server: LangfuseStandIn) -> None:
    """However many scores it has, up to a thousand; a rate limit counts requests."""
    many = [Made(f"s{number}", attributes={c.PREEMPTIONS: number}) for number in range(1_200)]
    destination = langfuse_scores(server)
    assert await destination.send(record(*many[:546])) == Delivered()
    assert len(server.requests) == 1
    assert await destination.send(record(*many)) == Delivered()
    assert len(server.requests) == 3
    destination.close()
    assert len(server.scores) == 1_200


async def test_time_and_environment_are_those_of_the_span(server: LangfuseStandIn) -> None:
    """A score that waited for an outage stands where its span stands."""
    spans = [
        Made(name, attributes={c.PREEMPTIONS: 1}, resource=resource)
        for name, resource in (
            ("modern", {"deployment.environment.name": "prod"}),
            ("older", {"deployment.environment": "stage"}),
            ("unfit", {"deployment.environment.name": "Langfuse Takes This Not"}),
            ("none", {}),
        )
    ]
    destination = langfuse_scores(server)
    assert await destination.send(record(*spans)) == Delivered()
    destination.close()
    found = {each["observationId"]: each for each in server.scores.values()}
    assert [found[span_id(each.name).hex()].get("environment") for each in spans] == [
        "prod", "stage", None, None
    ]  # fmt: skip
    assert {each["timestamp"] for each in found.values()} == {"2023-11-14T22:13:19.999Z"}


async def test_a_request_has_each_score_once(server: LangfuseStandIn) -> None:
    """What stands on the phases of a request, too, is the score of the request alone."""
    phase = Made("decode", parent="served",
                 attributes={c.PREEMPTIONS: 2, c.ENGINE_PHASE: "decode"})  # fmt: skip
    destination = langfuse_scores(server, c.PREEMPTIONS)
    assert await destination.send(record(SERVED, phase)) == Delivered()
    destination.close()
    assert [each["observationId"] for each in server.scores.values()] == [span_id("served").hex()]


def test_names_are_told_apart() -> None:
    """Langfuse shows twelve characters: all attributes have names that differ in these."""
    everything = list(c.ATTRIBUTES)
    names = score_names(everything)
    assert len({name[:12] for name in names.values()}) == len(everything)
    assert names[c.TIME_TO_FIRST_TOKEN] == "ttft"
    own = [name for name in everything if name.startswith("sidelight.")]
    assert not [name for name in score_names(own).values() if name[0].isdigit()]
    assert score_names(["a.b.latency_of_it", "a.c.latency_of_it", "latency_of_it"]) == {
        "a.b.latency_of_it": "latency_of_it",
        "a.c.latency_of_it": "ac_latency_of_it",
        "latency_of_it": "_latency_of_it",
    }


async def test_a_refused_score_stops_no_other(server: LangfuseStandIn) -> None:
    """What Langfuse does not take of a batch is counted, the rest is there."""
    destination = langfuse_scores(server)
    respond = server.respond

    def strict(request: Request) -> Reply:
        body = request.body.replace(b'"value": 2.0', b'"value": "many"')
        return respond(replace(request, body=body))

    server.respond = strict
    outcome = await destination.send(record(SERVED, OTHER))
    destination.close()
    assert isinstance(outcome, Delivered)
    assert outcome.rejected == 1
    assert "rejects scores" in outcome.reason
    assert len(server.scores) == 2


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([{"status": 401, "error": "Access Scope Denied"}], Retry),
        ([{"status": 500, "error": "x"}, {"status": 400}], Retry),
        ([{"status": 400, "error": "x"}] * 3, Rejected),
        ("nonsense", Delivered),
    ],
)
async def test_answers_to_single_scores(
    server: LangfuseStandIn, errors: Any, expected: type
) -> None:
    """What time or a person can mend is tried again, the rest is not."""
    answer = json.dumps({"successes": [], "errors": errors}).encode()
    server.respond = lambda _: Reply(207, answer, {"Content-Type": "application/json"})
    destination = langfuse_scores(server)
    outcome = await destination.send(record(SERVED))
    destination.close()
    assert type(outcome) is expected


def stored_annotations(url: str, project: str, *span_ids: bytes) -> list[dict[str, Any]]:
    query = "&".join(f"span_ids={each.hex()}" for each in span_ids)
    request = urllib.request.Request(
        f"{url}/v1/projects/{project}/span_annotations?{query}",
        headers={"Authorization": f"Bearer {API_KEY}"},
    )
    with urllib.request.urlopen(request) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]
    return found


@pytest.mark.real("phoenix")
async def test_phoenix_gets_projects_and_annotations(
    guarded_phoenix: GuardedPhoenix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans land in their tenant's project; annotations follow once the spans are stored."""
    monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
    made = {
        team: Made(
            f"{team}-req",
            trace=new_trace(),
            resource={"team": team},
            attributes={c.TIME_TO_FIRST_TOKEN: 0.5},
        )
        for team in ("blue", "red")
    }
    destination = {
        "type": "phoenix",
        "url": guarded_phoenix.url,
        "project_from": "team",
        "project": "rest",
        "scores": NAMES,
    }
    with opened(tmp_path) as log:
        async with Sending(log, destination) as sending:
            sending.append(record(*made.values()))
            await sending.until(lambda: log.cursor("phoenix.scores").position == log.end)
    for team, span in made.items():
        (found,) = stored_annotations(guarded_phoenix.url, team, span_id(span.name))
        assert found["name"] == c.TIME_TO_FIRST_TOKEN
        assert found["result"]["score"] == 0.5
        assert found["annotator_kind"] == "CODE"


def phoenix(url: str, **options: Any) -> PhoenixAnnotations:
    config = {"type": "phoenix", "url": url, "scores": NAMES, "timeout_seconds": 120, **options}
    return PhoenixAnnotations(PhoenixDestination.model_validate(config))


def never_stores(request: Request) -> Reply:
    """Stands for a Phoenix that has dropped the span called `served`."""
    missing = span_id("served").hex()
    ids = {each["span_id"] for each in json.loads(request.body)["data"]}
    if missing in ids:
        return Reply(404, f"Spans with IDs {missing} do not exist.".encode())
    return Reply(200, b'{"data": []}', {"Content-Type": "application/json"})


async def test_a_span_that_is_not_stored_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phoenix stores after it has said 200: until then annotations are tried again."""
    monkeypatch.setattr(phoenix_annotations, "_POLL_SECONDS", 0.1)
    with Backend(never_stores) as backend:
        destination = phoenix(backend.url)
        # Requests keep the time that they had.
        destination.timeout_seconds = 0.5
        outcome = await destination.send(record(SERVED))
        destination.close()
    assert isinstance(outcome, Retry)
    assert "has not yet stored" in outcome.reason


async def test_a_span_that_never_comes_is_given_up() -> None:
    """After a while its annotations are counted as lost, and those of other spans are written."""
    second = Made("second", attributes={c.PREEMPTIONS: 1})
    long_ago = time.time_ns() - int((phoenix_annotations.GIVE_UP_SECONDS + 1) * 1e9)
    with Backend(never_stores) as backend:
        destination = phoenix(backend.url)
        outcome = await destination.send(record(SERVED, second, time_ns=long_ago))
        destination.close()
        last = json.loads(backend.requests[-1].body)["data"]
    assert isinstance(outcome, Delivered)
    assert outcome.rejected > 0
    assert [each["span_id"] for each in last] == [span_id("second").hex()]


def test_a_route_may_not_be_called_as_the_scores() -> None:
    """Cursors are kept by name, so no two subscriptions have one."""
    route = {"name": "scores", "match": {"team": "a"}, "project": "p"}
    destination = {"type": "phoenix", "scores": NAMES, "routes": [route]}
    with pytest.raises(ValueError, match=r"are named 'phoenix\.scores'"):
        Config.model_validate({"destinations": [destination]})
