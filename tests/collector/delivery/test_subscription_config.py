"""Routes of a destination: each tenant's data under its own keys, none waiting for another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.loading import load
from sidelight.collector.delivery.subscription_config import subscription_configs
from support import otlp_requests
from support.langfuse import LangfuseStandIn
from support.sending import Sending, opened, parse
from support.spans import Made, record

TEAMS = ("blue", "red")
SPANS = [Made(team, resource={"service.namespace": team}) for team in (*TEAMS, "grey")]


def secrets(team: str) -> dict[str, Any]:
    return {
        "public_key": {"env": f"{team.upper()}_PUBLIC"},
        "secret_key": {"env": f"{team.upper()}_SECRET"},
    }


def langfuse(servers: dict[str, LangfuseStandIn], **options: Any) -> dict[str, Any]:
    return {
        "type": "langfuse",
        "url": servers["grey"].url,
        "timeout_seconds": 120,
        **secrets("grey"),
        "routes": [
            {
                "name": team,
                "match": {"service.namespace": team},
                "url": servers[team].url,
                **secrets(team),
            }
            for team in TEAMS
        ],
        **options,
    }


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = {team: LangfuseStandIn(f"pk-{team}", f"sk-{team}") for team in (*TEAMS, "grey")}
    for team, server in found.items():
        monkeypatch.setenv(f"{team.upper()}_PUBLIC", server.public_key)
        monkeypatch.setenv(f"{team.upper()}_SECRET", server.secret_key)
    yield found
    for server in found.values():
        server.close()


async def test_each_tenant_gets_its_own(
    servers: dict[str, LangfuseStandIn], tmp_path: Path
) -> None:
    """A batch of several tenants is parted, each part under its own keys; the rest by default."""
    with opened(tmp_path) as log:
        async with Sending(log, langfuse(servers)) as sending:
            sending.append(record(*SPANS), record(SPANS[1]))
            await sending.settled()
    names = {team: [row.name for row in server.rows] for team, server in servers.items()}
    assert names == {"blue": ["blue"], "red": ["red", "red"], "grey": ["grey"]}
    assert sending.tally.counts["langfuse.red", "delivered"] == 2
    assert sending.tally.counts["langfuse.red", "withheld", "route"] == 2


async def test_a_tenant_with_revoked_keys_delays_nobody(
    servers: dict[str, LangfuseStandIn], tmp_path: Path
) -> None:
    """While one project refuses its keys the others get everything, and it later as well."""
    servers["blue"].secret_key = "sk-revoked"
    with opened(tmp_path) as log:
        async with Sending(log, langfuse(servers, max_backoff_seconds=0.1)) as sending:
            sending.append(*(record(*SPANS) for _ in range(5)))
            await sending.settled("langfuse", "langfuse.red")
            assert [len(servers[team].rows) for team in ("blue", "red", "grey")] == [0, 5, 5]
            servers["blue"].secret_key = "sk-blue"
            await sending.until(lambda: len(servers["blue"].rows) == 5)
    assert {row.name for row in servers["blue"].rows} == {"blue"}


async def test_unmatched_data_can_be_left_out(
    servers: dict[str, LangfuseStandIn], tmp_path: Path
) -> None:
    """With `unmatched: drop` the destination itself has no subscription."""
    with opened(tmp_path) as log:
        async with Sending(log, langfuse(servers, unmatched="drop")) as sending:
            assert [each.exporter.name for each in sending.forwarders] == [
                "langfuse.blue",
                "langfuse.red",
            ]
            sending.append(record(*SPANS))
            await sending.settled()
    assert servers["grey"].requests == []


async def test_what_is_withheld_whole_is_passed_over(
    servers: dict[str, LangfuseStandIn], tmp_path: Path
) -> None:
    """Records of which nothing is sent move the cursor on, as metrics do at a trace backend."""
    destination = {"type": "langfuse", "url": servers["grey"].url, **secrets("grey")}
    with opened(tmp_path) as log:
        async with Sending(log, {**destination, "only": ["llm"]}) as sending:
            sending.append(*(record(*SPANS) for _ in range(200)), otlp_requests.metrics())
            await sending.settled()
            assert log.cursor("langfuse").position == log.end
    assert sending.tally.counts == {("langfuse", "withheld", "filter"): 600}


def test_the_first_route_that_fits_counts() -> None:
    """A route's options replace the destination's; what they do not name stays."""
    destination = {
        "type": "phoenix",
        "project": "rest",
        "timeout_seconds": 3,
        "project_from": "team",
        "routes": [
            {"name": "a", "match": {"team": ["a", "b"]}, "project": "first"},
            {"name": "b", "match": {"team": "b*"}},
        ],
    }
    found = {each.name: each for each in subscription_configs(parse(destination))}
    assert list(found) == ["phoenix", "phoenix.a", "phoenix.b"]
    assert found["phoenix.a"].destination.model_dump(include={"project", "project_from"}) == {
        "project": "first",
        "project_from": None,
    }
    assert found["phoenix.b"].destination.model_dump(include={"project", "timeout_seconds"}) == {
        "project": "rest",
        "timeout_seconds": 3,
    }
    both = record(Made("span", resource={"team": "b"}))
    got = {
        name: config.selector().select(both).record is not None for name, config in found.items()
    }
    assert got == {"phoenix": False, "phoenix.a": True, "phoenix.b": False}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{name: a, match: {}}", "routes.0.match"),
        ("{name: a, match: {team: a}, project: p}", "routes.0.project: unknown key"),
        ("{name: A, match: {team: a}}", "routes.0.name"),
    ],
)
def test_a_bad_route_is_named(text: str, problem: str, tmp_path: Path) -> None:
    """A route that cannot be used is told with its place in the file."""
    path = tmp_path / "sidelight.yaml"
    path.write_text(
        f"destinations: [{{type: otlp_http, name: o, url: 'http://a', routes: [{text}]}}]"
    )
    with pytest.raises(ConfigError, match=problem):
        load(path)


def test_no_two_subscriptions_share_a_cursor() -> None:
    """A route's name with its destination's must be unlike every other destination's."""
    route = {"name": "b", "match": {"team": "b"}}
    a = {"type": "otlp_http", "name": "a", "url": "http://a", "routes": [route]}
    with pytest.raises(ValueError, match=r"two destinations or routes are named 'a\.b'"):
        Config.model_validate({"destinations": [a, {**a, "name": "a.b", "routes": []}]})
    with pytest.raises(ValueError, match=r"two destinations or routes are named 'a\.b'"):
        Config.model_validate({"destinations": [{**a, "routes": [route, route]}]})
