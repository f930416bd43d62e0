"""One workload over every database and client mode: the spans are what was really called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sidelight import conventions as names
from support.vectordb import servers
from support.vectordb.record import Called, Outcome, differences
from support.vectordb.servers import Serving, run_workload

pytestmark = pytest.mark.real("milvus", "chroma")


@dataclass(frozen=True)
class Mode:
    """A way of using a client, and the server it needs."""

    name: str
    mode: str
    serving: Serving
    environment: str = "tests"

    @property
    def system(self) -> str:
        """The database, as spans name it."""
        return self.mode.partition("-")[0]


MODES = [
    Mode("Milvus Lite in the process", "milvus", servers.milvus_lite_file),
    Mode("Milvus Lite server", "milvus", servers.milvus_lite),
    Mode("Milvus Lite server, async", "milvus-async", servers.milvus_lite),
    Mode("Qdrant local", "qdrant", servers.nowhere),
    Mode("Qdrant local, async", "qdrant-async", servers.nowhere),
    Mode("Qdrant REST", "qdrant", servers.qdrant_rest),
    Mode("Qdrant REST, async", "qdrant-async", servers.qdrant_rest),
    Mode("Qdrant gRPC", "qdrant", servers.qdrant_grpc),
    Mode("Qdrant gRPC, async", "qdrant-async", servers.qdrant_grpc),
    Mode("Chroma in the process", "chroma-embedded", servers.nowhere, "chroma"),
    Mode("Chroma server", "chroma", servers.chroma, "chroma"),
    Mode("Chroma server, async", "chroma-async", servers.chroma, "chroma"),
]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_spans_and_metrics_are_what_was_called(mode: Mode, tmp_path: Path) -> None:
    """One span per logical call, with its counts, scores and errors, also of a killed server."""
    with mode.serving(tmp_path) as server:
        outcome = run_workload(mode.mode, server, environment=mode.environment)

    assert differences(outcome, mode.system) == []
    # One inside the process has neither a port nor a host.
    if mode.serving in (servers.nowhere, servers.milvus_lite_file):
        assert _addresses(outcome) == {(None, None)}
    elif server.pid is not None:
        host, _, port = server.address.removeprefix("http://").rpartition(":")
        assert _addresses(outcome) == {(host, server.grpc_port or int(port))}
    if server.address.startswith("http") and mode.system == "qdrant":
        served = [span for span in outcome.seen if span.name.startswith("query_points docs")]
        assert served[0].attributes[names.QDRANT_SERVER_DURATION] == pytest.approx(0.00125)
        assert served[0].attributes[names.QDRANT_CPU] == 7
        assert served[0].attributes[names.QDRANT_IO_READ] == 1 + 3 + 5
        assert served[0].attributes[names.QDRANT_IO_WRITE] == 2 + 4 + 6


def _addresses(outcome: Outcome) -> set[tuple[object, object]]:
    return {
        (span.attributes.get(names.SERVER_ADDRESS), span.attributes.get(names.SERVER_PORT))
        for span in outcome.seen
    }


def _wrong_collection(call: Called) -> Called:
    return replace(call, collection=call.collection + "2")


def _wrong_count(call: Called) -> Called:
    if call.rows is not None:
        return replace(call, rows=call.rows + 1)
    return replace(call, records=(call.records or 0) + 1)


def _other_outcome(call: Called) -> Called:
    return replace(call, error="ValueError" if call.error is None else None)


def _other_code(call: Called) -> Called:
    return replace(call, code="other")


def _other_operation(call: Called) -> Called:
    return replace(call, operation="other")


def _other_score(call: Called) -> Called:
    return replace(call, top=1.5 if call.top is None else call.top + 0.001)


# One mode of each database has all of its operations.
_IN_PROCESS = [
    mode
    for mode in MODES
    if mode.serving in (servers.nowhere, servers.milvus_lite_file) and "async" not in mode.mode
]


@pytest.fixture(scope="module", params=_IN_PROCESS, ids=lambda mode: mode.name)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Outcome]:
    """A database, and a workload of it without differences."""
    mode: Mode = request.param
    with mode.serving(tmp_path_factory.mktemp("recorded")) as server:
        outcome = run_workload(mode.mode, server, environment=mode.environment)
    assert differences(outcome, mode.system) == []
    return mode.system, outcome


@pytest.mark.parametrize(
    "change",
    [_wrong_collection, _wrong_count, _other_outcome, _other_code, _other_operation, _other_score],
)
def test_no_difference_goes_unseen(
    recorded: tuple[str, Outcome], change: Callable[[Called], Called]
) -> None:
    """Whichever call is recorded wrongly, and in whichever way, the comparison says so."""
    system, outcome = recorded
    for place, call in enumerate(outcome.called):
        called = (*outcome.called[:place], change(call), *outcome.called[place + 1 :])
        assert differences(replace(outcome, called=called), system), (place, call)
    for place, span in enumerate(outcome.seen):
        before, after = outcome.seen[:place], outcome.seen[place + 1 :]
        assert differences(replace(outcome, seen=(*before, *after)), system), place
        told = replace(span, tells=True)
        assert differences(replace(outcome, seen=(*before, told, *after)), system), place
    for name in outcome.metrics:
        metrics = {**outcome.metrics, name: outcome.metrics[name] + 1}
        assert differences(replace(outcome, metrics=metrics), system), name
