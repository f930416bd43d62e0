"""Numbers on spans as Langfuse scores and as annotations in a real Phoenix."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from sidelight import conventions as c
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.common.outcome import Delivered, Retry
from sidelight.collector.destinations.common.scores import scores
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
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
        (c.CLIENT_ABORTED, 1.0, "BOOLEAN", span_id("served").hex()),
        (c.PREEMPTIONS, 2.0, "NUMERIC", span_id("served").hex()),
        (c.TIME_TO_FIRST_TOKEN, 0.25, "NUMERIC", span_id("served").hex()),
    ]


async def test_scores_that_fail_never_delay_traces(
    server: LangfuseStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While scores are refused the traces arrive, once each."""
    respond = server.respond

    def broken(request: Request) -> Reply:
        return Reply(500) if request.path == "/api/public/scores" else respond(request)

    server.respond = broken
    destination = {"type": "langfuse", "url": server.url, "scores": NAMES}
    with opened(tmp_path) as log:
        async with Sending(log, destination) as sending:
            sending.append(*(record(SERVED) for _ in range(5)))
            await sending.until(lambda: log.cursor("langfuse").position == log.end)
            await sending.until(lambda: sending.tally.counts["langfuse.scores", "retried"] > 1)
    assert len(server.rows) == 5


async def test_a_rate_limit_does_not_begin_anew(server: LangfuseStandIn) -> None:
    """Sent again, a batch goes on with the score that had to wait: limits cannot starve it."""
    config = LangfuseDestination.model_validate(
        {"type": "langfuse", "url": server.url, "scores": NAMES}
    )
    destination = LangfuseScores(config)
    taken = 0
    respond = server.respond

    def limited(request: Request) -> Reply:
        nonlocal taken
        taken += 1
        return Reply(429) if taken % 2 == 0 else respond(request)

    server.respond = limited
    stored = record(SERVED)
    outcomes = [type(await destination.send(stored)) for _ in range(3)]
    assert outcomes == [Retry, Retry, Delivered]
    assert len(server.requests) == 5
    destination.close()


async def test_a_refused_score_stops_no_other(server: LangfuseStandIn) -> None:
    """What Langfuse does not take of a batch is counted, the rest is there."""
    respond = server.respond

    def strict(request: Request) -> Reply:
        return Reply(400) if b"preemptions" in request.body else respond(request)

    server.respond = strict
    config = {"type": "langfuse", "url": server.url, "scores": NAMES}
    destination = LangfuseScores(LangfuseDestination.model_validate(config))
    outcome = await destination.send(record(SERVED, OTHER))
    destination.close()
    assert isinstance(outcome, Delivered)
    assert outcome.rejected == 1
    assert len(server.scores) == 2


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
    config = {"type": "phoenix", "url": url, "scores": NAMES, "timeout_seconds": 1, **options}
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
