"""The API server's end of the way to the observer process, without one or with a broken one."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.observer import hand_off, rendezvous
from sidelight.instrumentation.vllm.observer.hand_off import STEPS_GATHER_SECONDS, ObserverHandOff
from sidelight.instrumentation.vllm.observer.service import READY
from sidelight.instrumentation.vllm.processing_thread import ProcessingThread
from sidelight.instrumentation.vllm.records import (
    ENGINE,
    HEALTH,
    REQUEST_BODY,
    REQUEST_ENDED,
    STEP,
    RecordDecoder,
)
from sidelight.instrumentation.vllm.runtime import Runtime
from sidelight.instrumentation.vllm.versions import Versions
from support.observer_writer import PATH, observers, request
from support.otlp_receiver import OtlpReceiver
from support.paths import ROOT
from support.waiting import PATIENCE_SECONDS, eventually, eventually_async


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of its own."""
    path = Path("/tmp") / f"sidelight-test-{secrets.token_hex(8)}"
    choose(monkeypatch, path)
    monkeypatch.setattr(hand_off, "FIRST_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(hand_off, "MAX_BACKOFF_SECONDS", 0.0)
    yield path
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    assert observers(path) == []


def choose(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Make this the place that this process has chosen."""
    monkeypatch.setenv(rendezvous.DIRECTORY_VARIABLE, str(path))
    monkeypatch.setattr(rendezvous, "_chosen_by", os.getpid())


@pytest.mark.parametrize(
    ("broken", "value"), [("sys.executable", "/no/python"), ("_ROOT", Path("/no/code"))]
)
def test_no_process_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: Path,
    broken: str,
    value: Any,
) -> None:
    """After three attempts a thread does the work, and one line says what to do."""
    monkeypatch.setattr(f"{rendezvous.__name__}.{broken}", value)
    with OtlpReceiver() as receiver:
        runtime = Runtime(Settings())
        runtime.start(Versions(), {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
        runtime.add_engine((ENGINE, 7, ()))

        def is_thread() -> bool:
            assert runtime.hand_off is not None
            runtime.hand_off.put(request(1, "chatcmpl-a"))
            return isinstance(runtime.hand_off, ProcessingThread)

        eventually(is_thread)
        receiver.wait_for(receiver.spans)
        assert isinstance(runtime.hand_off, ProcessingThread)
        runtime.hand_off.stop(60.0)
    warnings = [line for line in caplog.messages if "cannot run an observer process" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith("or set SIDELIGHT_VLLM_OBSERVER=thread.")


@pytest.mark.parametrize("what", ["read-only", "of all users"])
def test_a_place_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, place: Path, tmp_path: Path, what: str
) -> None:
    """The reason names it. One that is not ours alone is not tried again."""
    place.mkdir(mode=0o700)
    path = tmp_path / "place"
    if what == "read-only":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "place"
    else:
        path.mkdir()
        path.chmod(0o777)
    choose(monkeypatch, path)
    reasons: list[str] = []
    to = ObserverHandOff(CaptureBudget(), lambda: (), Versions(), {}, reasons.append)
    monkeypatch.setattr(hand_off, "MAX_FAILED_STARTS", 1)
    to._run()
    assert len(reasons) == 1
    assert str(path) in reasons[0]
    kept = os.environ[rendezvous.DIRECTORY_VARIABLE] == str(path)
    assert kept == (what == "read-only")


def test_packages_beside_sidelight(
    monkeypatch: pytest.MonkeyPatch, place: Path, tmp_path: Path
) -> None:
    """A module beside Sidelight that has the name of a standard one is not imported for it."""
    (tmp_path / "sidelight").symlink_to(ROOT / "instrumentation" / "sidelight")
    (tmp_path / "json.py").write_text("raise SystemExit('not of the standard library')")
    monkeypatch.setattr(rendezvous, "_ROOT", tmp_path)
    meeting = rendezvous.MeetingPlace(rendezvous.directory())
    connection, process = rendezvous.connect_or_start(meeting, Versions(), {})
    assert process is not None
    with connection:
        connection.settimeout(PATIENCE_SECONDS)
        assert connection.recv(1) == READY
    assert process.wait(PATIENCE_SECONDS) == 0
    # For the fixture, which looks for what is left.
    rendezvous.directory()


@pytest.mark.parametrize("mode", [0o755, 0o720])
def test_places_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int) -> None:
    """A directory that others may use is refused, as is one behind a link."""
    path = tmp_path / "place"
    path.mkdir()
    path.chmod(mode)
    choose(monkeypatch, path)
    with pytest.raises(PermissionError):
        rendezvous.directory()
    path.chmod(0o700)
    assert rendezvous.directory() == path
    link = tmp_path / "link"
    link.symlink_to(path)
    choose(monkeypatch, link)
    with pytest.raises(PermissionError):
        rendezvous.directory()


class Wire:
    """A socket that takes as many bytes as it is told, and never more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def send(self, payload: bytes) -> int:
        """Take what there is room for."""
        if not self.room:
            raise BlockingIOError
        size = min(self.room, len(payload))
        self.room -= size
        self.taken += payload[:size]
        return size

    def fileno(self) -> int:
        """Of no file."""
        return -1


def connected(wire: Wire) -> ObserverHandOff:
    """A hand-off whose connection is `wire`."""
    to = ObserverHandOff(CaptureBudget(), lambda: (), Versions(), {}, lambda _: None)
    to._socket = wire  # type: ignore[assignment]
    return to


def test_records_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that was written in part is completed, whatever is dropped after it."""
    monkeypatch.setattr(hand_off, "MAX_WAITING_BYTES", 3_000)
    wire = Wire(500)
    to = connected(wire)
    bodies = [(REQUEST_BODY, number, PATH, (b"x" * 1_000,), True, 1) for number in range(6)]
    for body in bodies[:4]:
        to.put(body)
    assert to.dropped == 1
    wire.room = 1_000_000
    to._flush()
    to.put(bodies[5])
    taken = [record for record in RecordDecoder().feed(wire.taken) if record[0] == REQUEST_BODY]
    assert taken == [bodies[0], bodies[1], bodies[2], bodies[5]]


def test_what_was_dropped_is_told_without_a_further_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An idle server may have none, and the observer takes requests for being in hand."""
    monkeypatch.setattr(hand_off, "MAX_WAITING_BYTES", 3_000)
    wire = Wire(500)
    to = connected(wire)
    for number in range(6):
        to.put((REQUEST_BODY, number, PATH, (b"x" * 1_000,), True, 1))
    assert to.dropped == 3
    wire.room = 1_000_000
    while to._waiting:
        to._flush()
    *_, last = RecordDecoder().feed(wire.taken)
    assert last == (HEALTH, to.dropped, ())


class Counting(Wire):
    """A wire that counts the writes."""

    writes = 0

    def send(self, payload: bytes) -> int:
        """Count, and take the bytes."""
        self.writes += 1
        return super().send(payload)


def test_a_sequence_and_its_request_end_in_one_write() -> None:
    """A step in which a sequence ended waits for the request's record while others run."""
    wire = Counting(1_000_000)
    to = connected(wire)
    ended = ("id", 0, "stop")
    to.put_step((STEP, 0, (1.0, 3, 0, 0.5, 0, 1, 0, 0, 0, 1), (ended,)))
    assert wire.writes == 0
    to.put(request(1, "chatcmpl-a"))
    assert wire.writes == 1
    assert [record[0] for record in RecordDecoder().feed(wire.taken)] == [STEP, REQUEST_ENDED]
    # A client that reads slowly delays its request's record, and not what ended in the engine.
    to.put_step((STEP, 0, (2.0, 3, 0, 0.5, 0, 1, 0, 0, 0, 1), (ended,)))
    to.put_step((STEP, 0, (2.0 + 2 * STEPS_GATHER_SECONDS, 3, 0, 0.5, 0, 1, 0, 0, 0, 0), ()))
    assert wire.writes == 2


def test_steps_gather() -> None:
    """Steps of a tenth of a second are one write, unless one of them changes what is running."""
    wire = Counting(1_000_000)
    to = connected(wire)

    def step(at: float, running: int) -> tuple[object, ...]:
        return STEP, 0, (at, running, 0, 0.5, 0, 1, 0, 0, 0, 0), ()

    for number in range(50):
        to.put_step(step(number * 0.01, 1))
    assert 3 <= wire.writes <= 5
    before = wire.writes
    to.put_step(step(0.5, 0))
    assert wire.writes == before + 1
    steps = [record[2][0] for record in RecordDecoder().feed(wire.taken) if record[0] == STEP]
    assert steps == sorted(steps)
    assert len(steps) == 51


def test_the_budget_is_given_back() -> None:
    """Bytes that were handed over, or dropped, are no longer held."""
    to = connected(Wire(1_000_000))
    to._budget.taken = 2_000
    to.put((REQUEST_BODY, 1, PATH, (b"x" * 1_000,), True, 1))
    to._socket, to._stopped = None, True
    to.put((REQUEST_BODY, 2, PATH, (b"x" * 1_000,), True, 1))
    assert (to._budget.taken, to.dropped) == (0, 1)


def test_starting_takes_no_time_of_vllm(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is started on another thread, so that a slow start delays nothing."""
    release = threading.Event()

    def slow(*_: object) -> Any:
        release.wait(60)
        raise OSError("cannot")

    monkeypatch.setattr(hand_off, "connect_or_start", slow)
    gave_up: list[str] = []
    to = ObserverHandOff(CaptureBudget(), lambda: (), Versions(), {}, gave_up.append)
    to.start()
    to.put(request(1, "chatcmpl-a"))
    assert (to.dropped, gave_up) == (1, [])
    release.set()
    eventually(lambda: gave_up == ["OSError"])


async def test_what_waits_is_sent_once_there_is_room() -> None:
    """The event loop sends it, without a further record."""
    near, far = socket.socketpair()
    near.setblocking(False)
    to = connected(Wire(0))
    to._socket = near
    bodies = [(REQUEST_BODY, number, PATH, (bytes(100_000),), True, 1) for number in range(30)]
    for body in bodies:
        to.put(body)
    assert to.dropped == 0
    assert to._waiting
    decoder = RecordDecoder()
    received: list[Any] = []
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    while len(received) < len(bodies):
        received += decoder.feed(await loop.sock_recv(far, 1 << 20))
    assert received == bodies
    await eventually_async(lambda: not to._awaits_writable)
    # The other end is gone: what waits then is given up, and the socket is closed.
    for body in bodies:
        to.put(body)
    far.close()
    await eventually_async(lambda: to._socket is None)
    await eventually_async(lambda: near.fileno() == -1)


async def test_a_socket_that_is_closed_in_between() -> None:
    """The connecting thread may close it after a write that was not taken whole."""
    near, far = socket.socketpair()
    to = connected(Wire(0))
    near.close()
    to._socket = near
    to._waiting += b"rest"
    to._flush_when_writable(near)
    assert not to._awaits_writable
    # A call, because mypy takes the attribute for what was written to it.
    assert getattr(to, "_socket") is None  # noqa: B009
    far.close()
    # The next connection is waited for again.
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        to._socket = near
        to._flush_when_writable(near)
        await eventually_async(lambda: not to._waiting and not to._awaits_writable)
        assert far.recv(10) == b"rest"


def test_it_is_ready_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The byte that says so is never taken for the end, however long it takes."""
    waits: list[float | None] = []

    class Poll:
        """Nothing to read at first, whatever the time that is waited for."""

        def register(self, *_: object) -> None:
            """Watch nothing."""

        def poll(self, milliseconds: float | None = None) -> list[int]:
            """Readable once it is waited for without an end."""
            waits.append(milliseconds)
            if milliseconds is not None:
                return []
            if len(waits) == 1:
                far.send(READY)
            else:
                far.close()
            return [1]

    monkeypatch.setattr("select.poll", Poll)
    near, far = socket.socketpair()
    to = connected(Wire(0))
    to._failed_starts = 2
    with near:
        to._watch(near)
        assert near.recv(1) == b""
    assert waits == [None, pytest.approx(30_000, abs=10_000), None]
    assert to._failed_starts == 0


def test_stopping_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An observer process that writes on and on does not hold up vLLM's end."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    class Slow:
        """Takes most of what it may wait for, in each call."""

        seconds = 0.0
        calls = 0

        def settimeout(self, seconds: float) -> None:
            """Wait as long as this from now on."""
            self.seconds = seconds

        def take(self, *_: object) -> bytes:
            """A byte, just in time."""
            clock[0] += 0.9 * self.seconds + 0.01
            self.calls += 1
            return READY if self.calls < 10 else b""

        sendall = recv = take

        def shutdown(self, _: int) -> None:
            """At once."""

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    to = connected(Wire(0))
    to._socket = Slow()  # type: ignore[assignment]
    to._waiting += b"rest"
    to.stop()
    assert clock[0] < hand_off.MAX_STOP_SECONDS + 0.1
