"""Self-signed certificates against an API server that refuses stale versions."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidelight.injection.webhook.certificates.keeper import CertificateKeeper, CertificatePlace
from sidelight.injection.webhook.certificates.pair import Pair
from sidelight.injection.webhook.certificates.rotation import Renewal, from_data
from sidelight.injection.webhook.kubernetes_api import ApiError, in_cluster
from support.kubernetes.api_server import ADMISSION, CORE, ApiServer, Call, Rule

SECRET = f"{CORE}/namespaces/monitoring/secrets/injector-tls"
CONFIGURATION = f"{ADMISSION}/mutatingwebhookconfigurations/sidelight-injector"
RENEWAL = Renewal(("injector.monitoring.svc",), 90)
PLACE = CertificatePlace("monitoring", "injector-tls", "sidelight-injector")
# What the chart grants, and nothing more.
RULES = {
    Rule("get", "secrets", "injector-tls"),
    Rule("update", "secrets", "injector-tls"),
    Rule("get", "mutatingwebhookconfigurations", "sidelight-injector"),
    Rule("patch", "mutatingwebhookconfigurations", "sidelight-injector"),
}


def empty_secret() -> dict[str, Any]:
    """As the chart makes it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "injector-tls", "namespace": "monitoring"},
        "type": "Opaque",
    }


def configuration() -> dict[str, Any]:
    """As the chart makes it, with two webhooks and no caBundle."""
    webhooks = [
        {
            "name": f"{name}.injector.sidelight.dev",
            "clientConfig": {"service": {"name": "injector", "namespace": "monitoring"}},
            "failurePolicy": "Ignore",
        }
        for name in ("namespace", "pod")
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "sidelight-injector"},
        "webhooks": webhooks,
    }


@dataclass
class Replica:
    """One keeper, its clock, and what it serves."""

    keeper: CertificateKeeper
    clock: list[datetime]
    pairs: list[Pair] = field(default_factory=list)

    @property
    def serves(self) -> Pair:
        """What new connections are shown."""
        return self.pairs[-1]

    def later(self, days: float) -> None:
        """Let days pass."""
        self.clock[0] += timedelta(days=days)


@asynccontextmanager
async def replica(server: ApiServer, *, trust_seconds: float = 0.0) -> AsyncIterator[Replica]:
    """A new replica of the injector."""
    api = in_cluster(server.environment, server.directory)
    clock, pairs = [datetime.now(UTC)], list[Pair]()
    keeper = CertificateKeeper(
        api, PLACE, RENEWAL, pairs.append, now=lambda: clock[0], trust_seconds=trust_seconds
    )
    try:
        yield Replica(keeper, clock, pairs)
    finally:
        api.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """An API server after the chart was installed."""
    with ApiServer(tmp_path / "api", set(RULES)) as running:
        running.put(SECRET, empty_secret())
        running.put(CONFIGURATION, configuration())
        yield running


def bundles(server: ApiServer) -> list[bytes]:
    """The caBundle of each webhook."""
    webhooks = server.objects[CONFIGURATION]["webhooks"]
    return [base64.b64decode(each["clientConfig"].get("caBundle", "")) for each in webhooks]


def stored(server: ApiServer) -> Any:
    """What the Secret holds."""
    return from_data(server.objects[SECRET]["data"])


async def test_an_installed_chart_gets_a_certificate(server: ApiServer) -> None:
    """With the rights that the chart grants; nothing else of the configuration changes."""
    async with replica(server) as one:
        await one.keeper.look()
        assert one.keeper.is_trusted
        assert stored(server).current == one.serves
        assert bundles(server) == [one.serves.ca] * 2
    changed = copy.deepcopy(server.objects[CONFIGURATION])
    for webhook in changed["webhooks"]:
        del webhook["clientConfig"]["caBundle"]
    assert changed["webhooks"] == configuration()["webhooks"]


async def test_nothing_is_written_while_nothing_is_due(server: ApiServer) -> None:
    """Every replica looks each half minute."""
    async with replica(server) as one, replica(server) as two:
        for each in (one, two, one, two):
            await each.keeper.look()
        assert server.count("update", "secrets") == 1
        assert server.count("patch", "mutatingwebhookconfigurations") == 1
        assert one.serves == two.serves
        assert len(one.pairs) == len(two.pairs) == 1


async def test_a_restart_keeps_the_certificate(server: ApiServer) -> None:
    """So does an upgrade: what the API servers trust is what is served."""
    async with replica(server) as one:
        await one.keeper.look()
    async with replica(server) as two:
        await two.keeper.look()
        assert two.serves == one.serves


@pytest.mark.parametrize("has_secret", [True, False])
async def test_replicas_that_start_together_agree(server: ApiServer, has_secret: bool) -> None:
    """One fills or creates the Secret, the others are refused and read it."""
    if not has_secret:
        del server.objects[SECRET]
        server.rules.add(Rule("create", "secrets"))
    async with replica(server) as one, replica(server) as two, replica(server) as three:
        replicas = (one, two, three)
        await asyncio.gather(*(each.keeper.look() for each in replicas))
        for each in replicas:
            await each.keeper.look()
            assert each.serves == stored(server).current
        assert bundles(server) == [one.serves.ca] * 2
    assert len(server.of("secrets")) == 1


async def test_a_rotation_never_shows_what_is_not_trusted(server: ApiServer) -> None:
    """Whatever the order in which two replicas look, over a year."""
    async with replica(server) as one, replica(server) as two:
        seen = set()
        for step in range(40):
            for each in (one, two) if step % 3 else (two, one):
                each.later(9)
                await each.keeper.look()
                for shown in (pairs[-1] for pairs in (one.pairs, two.pairs) if pairs):
                    assert all(shown.ca in bundle for bundle in bundles(server)), step
            seen.add(one.serves.certificate)
        # 90 days each, renewed after 60.
        assert len(seen) in (6, 7)


async def test_a_new_pair_waits_until_it_is_trusted(server: ApiServer) -> None:
    """API servers read the configuration by a watch, which takes a moment."""
    async with replica(server, trust_seconds=1000.0) as one:
        await one.keeper.look()
        first = one.serves
        one.later(61)
        for _ in range(3):
            await one.keeper.look()
        coming = stored(server).next
        assert coming is not None
        assert one.serves == first
        assert bundles(server) == [first.ca + coming.ca] * 2


async def test_a_stale_look_does_not_undo_a_newer_one(server: ApiServer) -> None:
    """Between its reads and its patch, another replica may have rotated."""
    async with replica(server) as slow, replica(server) as fast:
        await slow.keeper.look()
        await fast.keeper.look()
        # Only the slow one has something to patch.
        server.put(CONFIGURATION, configuration())
        loop = asyncio.get_running_loop()

        def rotate(call: Call) -> None:
            if call.verb == "patch":
                server.before = lambda _call: None
                fast.later(61)
                slow.later(61)
                for _ in range(3):
                    asyncio.run_coroutine_threadsafe(fast.keeper.look(), loop).result(60)

        server.before = rotate
        await slow.keeper.look()
        assert slow.serves == fast.serves == stored(server).current
        assert all(fast.serves.ca in bundle for bundle in bundles(server))
        assert len(fast.pairs) == 2


async def test_a_ca_bundle_that_was_taken_away_is_set_again(server: ApiServer) -> None:
    """As by `helm upgrade --force`, which replaces objects."""
    async with replica(server) as one:
        await one.keeper.look()
        server.put(CONFIGURATION, configuration())
        server.put(SECRET, empty_secret())
        await one.keeper.look()
        assert len(one.pairs) == 1
        assert bundles(server) == [one.serves.ca] * 2
        assert stored(server).current == one.serves


async def test_other_keys_of_the_secret_stay(server: ApiServer) -> None:
    """And its labels, by which Helm knows it."""
    secret = empty_secret()
    secret["data"] = {"note": base64.b64encode(b"ours").decode()}
    secret["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    server.put(SECRET, secret)
    async with replica(server) as one:
        await one.keeper.look()
    after = server.objects[SECRET]
    assert after["data"]["note"] == secret["data"]["note"]
    assert after["metadata"]["labels"] == secret["metadata"]["labels"]


async def test_without_the_configuration_the_secret_is_ready(server: ApiServer) -> None:
    """Helm installs webhook configurations last."""
    del server.objects[CONFIGURATION]
    async with replica(server) as one:
        with pytest.raises(ApiError, match='"sidelight-injector" not found; create it'):
            await one.keeper.look()
        assert stored(server).current == one.serves
        assert not one.keeper.is_trusted
        server.put(CONFIGURATION, configuration())
        await one.keeper.look()
        assert one.keeper.is_trusted


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule("get", "secrets", "injector-tls"), "cannot get resource"),
        (Rule("update", "secrets", "injector-tls"), "cannot update resource"),
        (Rule("patch", "mutatingwebhookconfigurations", "sidelight-injector"), "cannot patch"),
    ],
)
async def test_a_missing_right_is_named(server: ApiServer, rule: Rule, said: str) -> None:
    """And where to grant it."""
    server.rules.remove(rule)
    async with replica(server) as one:
        with pytest.raises(ApiError, match=f"{said}.*; grant it by the role of the injector"):
            await one.keeper.look()
        assert not one.keeper.is_trusted


async def test_a_token_that_expired_is_read_again(server: ApiServer) -> None:
    """The kubelet replaces it about every hour."""
    async with replica(server) as one:
        await one.keeper.look()
        server.tokens = {"token-2"}
        with pytest.raises(ApiError, match="does not accept the service account's token"):
            await one.keeper.look()
        (server.directory / "token").write_text("token-2")

        async def is_accepted() -> bool:
            try:
                await one.keeper.look()
            except ApiError:
                return False
            return True

        while not await is_accepted():
            await asyncio.sleep(0.1)


async def test_what_writes_all_the_time_is_not_fought(server: ApiServer) -> None:
    """After some conflicts it waits for the next look."""

    def write(call: Call) -> None:
        if call.verb == "update":
            server.put(SECRET, empty_secret())

    server.before = write
    async with replica(server) as one:
        with pytest.raises(ApiError, match="check what else writes to them"):
            await one.keeper.look()
        assert "data" not in server.objects[SECRET]


async def test_faults_are_logged_once_and_looks_go_on(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Until the cause is gone."""
    caplog.set_level(logging.WARNING)
    missing = server.objects.pop(CONFIGURATION)
    async with replica(server) as one:
        running = asyncio.create_task(one.keeper.run())
        try:
            while server.count("get", "secrets") < 3:
                await asyncio.sleep(0.05)
            assert one.keeper.trouble is not None
            server.put(CONFIGURATION, missing)
            while not one.keeper.is_trusted:
                await asyncio.sleep(0.05)
        finally:
            running.cancel()
    assert caplog.text.count("certificates not checked") == 1
