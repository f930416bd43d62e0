"""`sidelight log dead-letters`: what was rejected comes back, once, to who rejected it."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.collector.cli.main import sidelight
from sidelight.collector.delivery.dead_letter_files import ResendFiles, letters_in
from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.log.record import Record
from sidelight.demo.phoenix_query import PhoenixReader
from support.backend import Reply, Request
from support.collector import Collector, environment, settings
from support.guarded_phoenix import API_KEY, GuardedPhoenix
from support.span_load import new_ids, request_of
from support.span_store import SpanStore
from support.waiting import PATIENCE_SECONDS, eventually

_COMMAND = [sys.executable, "-m", "sidelight.collector", "log", "dead-letters"]
_BAD = "what the backend rejects"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(sidelight, ["log", "dead-letters", *map(str, arguments)])


def _rejects(request: Request) -> Reply | None:
    is_bad = _BAD.encode() in gzip.decompress(request.body)
    return Reply(422, b"a value it cannot store") if is_bad else None


def _written(directory: Path, **sections: Any) -> Path:
    file = directory / "sidelight.yaml"
    file.write_text(json.dumps(settings(directory, **sections)))
    return file


def _letters(directory: Path) -> DeadLetters:
    return DeadLetters(directory / "log" / "dead-letters")


def _add(letters: DeadLetters, spans: list[bytes], status: int = 422, name: str = "store") -> None:
    for span in spans:
        record = Record("traces", request_of([span]), 1, time.time_ns(), "identity")
        letters.add(name, record, status=status, reason="bad")


def _left(directory: Path, name: str = "store") -> int:
    return len(list(letters_in(directory / "log" / "dead-letters", name)))


class TestBesideARunningCollector:
    def test_they_come_back_to_the_destination_that_rejected_them(self, tmp_path: Path) -> None:
        """After its fault is corrected, once each; the other destination gets nothing more."""
        good, bad = new_ids(5), new_ids(3)
        with SpanStore(refuse=_rejects) as store, SpanStore() as other:
            sections = {"destinations": [store.destination(), other.destination("other")]}
            with Collector(settings(tmp_path, **sections), tmp_path) as collector:
                assert collector.post(request_of(good))[0] == 200
                assert collector.post(request_of(bad, text=_BAD))[0] == 200
                eventually(lambda: {*good, *bad} <= other.ids.keys())
                eventually(lambda: _left(tmp_path) == 3)
                config = tmp_path / "sidelight.yaml"

                still = _run("resend", "store", "-c", config)
                assert still.exit_code == 1
                assert "accepted 0 of 3" in still.output
                assert "3 rejected again, and left: " in still.output
                assert _left(tmp_path) == 3

                store.refuse = lambda _: None
                done = _run("resend", "store", "-c", config)
                assert done.exit_code == 0, done.output
                assert "store accepted 3 of 3 dead letters (3 items)" in done.output
                again = _run("resend", "store", "-c", config)
                assert (again.exit_code, again.output) == (0, "no dead letters of store\n")
                assert all(store.ids[span] == 1 for span in (*good, *bad))
                assert all(other.ids[span] == 1 for span in (*good, *bad))
                assert collector.terminate() == 0

    def test_what_is_rejected_meanwhile_is_kept(self, tmp_path: Path) -> None:
        """The collector adds to the files that the command empties."""
        folder = tmp_path / "dead-letters"
        letters = DeadLetters(folder)
        first, second = new_ids(3), new_ids(2)
        _add(letters, first)
        files = ResendFiles(folder, "store")
        for letter in files.letters():
            files.remove(letter)
            if second:
                _add(letters, [second.pop()])
        files.close()
        assert len(list(letters_in(folder, "store"))) == 2
        assert all(line.startswith("{") for line in letters.path("store").read_text().splitlines())


class TestWithoutACollector:
    def test_all_workers_and_both_files(self, tmp_path: Path) -> None:
        """Also those of a worker that no longer exists, and the older file."""
        spans = new_ids(30)
        root = tmp_path / "log"
        with SpanStore() as store:
            config = _written(tmp_path, destinations=[store.destination()])
            for number, worker in enumerate(("worker-0", "worker-7")):
                folder = root / worker / "dead-letters"
                _add(DeadLetters(folder, max_bytes=3_500), spans[number * 15 :][:15])
                assert (folder / "store.jsonl.1").exists()
            listed = json.loads(_run("ls", "--json", "-c", config).output)["dead_letters"]
            assert [entry["items"]["traces"] for entry in listed] == [15, 15]
            assert _run("resend", "store", "-c", config).exit_code == 0
            assert all(store.ids[span] == 1 for span in spans)
            assert store.ids.keys() == set(spans)
            assert list(root.rglob("*.jsonl*")) == []

    def test_a_destination_that_is_down_stops_it(self, tmp_path: Path) -> None:
        """With the reason; the letters stay, and the next run sends them."""
        spans = new_ids(4)
        with SpanStore(refuse=lambda _: Reply(401)) as store:
            config = _written(tmp_path, destinations=[store.destination()])
            _add(_letters(tmp_path), spans)
            stopped = _run("resend", "store", "-c", config)
            assert stopped.exit_code == 1
            assert "stopped, as it accepts nothing now" in stopped.output
            assert "401" in stopped.output
            assert _left(tmp_path) == 4
            store.refuse = lambda _: None
            assert _run("resend", "store", "-c", config).exit_code == 0
            assert store.ids.keys() == set(spans)

    def test_a_destination_that_rejects_everything_stops_it(self, tmp_path: Path) -> None:
        """`http://` to a port with TLS answers 400 to all: not every letter is tried."""
        requests = []

        def reject(request: Request) -> Reply:
            requests.append(request)
            return Reply(400)

        with SpanStore(refuse=reject) as store:
            config = _written(tmp_path, destinations=[store.destination()])
            _add(_letters(tmp_path), new_ids(50))
            result = _run("resend", "store", "-c", config)
            assert result.exit_code == 1
            assert "stopped, as it accepts nothing now" in result.output
            assert len(requests) < 10
            assert _left(tmp_path) == 50

    def test_one_that_still_fails_holds_up_none(self, tmp_path: Path) -> None:
        """A backend that answers 500 to one letter gets the others."""
        spans = new_ids(4)

        def fails_for_one(request: Request) -> Reply | None:
            return Reply(500) if spans[0] in gzip.decompress(request.body) else None

        with SpanStore(refuse=fails_for_one) as store:
            config = _written(tmp_path, destinations=[store.destination()])
            _add(_letters(tmp_path), spans)
            result = _run("resend", "store", "-c", config)
            assert result.exit_code == 1
            assert "accepted 3 of 4" in result.output
            assert store.ids.keys() == set(spans[1:])
            assert _left(tmp_path) == 1

    def test_what_was_accepted_in_part_is_asked_for(self, tmp_path: Path) -> None:
        """It would arrive twice, so only --partial sends it."""
        whole, part = new_ids(1), new_ids(1)
        with SpanStore() as store:
            config = _written(tmp_path, destinations=[store.destination()])
            _add(_letters(tmp_path), whole)
            _add(_letters(tmp_path), part, status=200)
            result = _run("resend", "store", "-c", config)
            assert result.exit_code == 1
            assert "1 left that it accepted in part: --partial sends them whole" in result.output
            assert store.ids.keys() == set(whole)
            assert _run("resend", "store", "-c", config, "--partial").exit_code == 0
            assert store.ids.keys() == {*whole, *part}

    def test_a_kill_repeats_at_most_one(self, tmp_path: Path) -> None:
        """Each is removed as it is accepted, so that the next run begins where it ended."""
        spans = new_ids(300)
        with SpanStore() as store:
            config = _written(tmp_path, destinations=[store.destination()])
            _add(_letters(tmp_path), spans)
            for _ in range(3):
                process = subprocess.Popen(
                    [*_COMMAND, "resend", "store", "-c", config],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment(),
                )
                count = len(store.ids)
                eventually(
                    lambda count=count, process=process: (
                        len(store.ids) > count + 10 or process.poll() is not None
                    )
                )
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert _run("resend", "store", "-c", config).exit_code == 0
            assert store.ids.keys() == set(spans)
            assert sum(store.ids.values()) <= len(spans) + 3
            assert _left(tmp_path) == 0

    def test_one_at_a_time(self, tmp_path: Path) -> None:
        """A second command says that the first is at work."""
        with SpanStore() as store:
            config = _written(tmp_path, destinations=[store.destination()])
            _add(_letters(tmp_path), new_ids(1))
            files = ResendFiles(tmp_path / "log" / "dead-letters", "store")
            result = _run("resend", "store", "-c", config)
            files.close()
            assert result.exit_code == 1
            assert "another command sends the dead letters of store again" in result.output
            assert _left(tmp_path) == 1

    def test_damaged_lines_stay(self, tmp_path: Path) -> None:
        """They are named and hold up none."""
        spans = new_ids(2)
        with SpanStore() as store:
            config = _written(tmp_path, destinations=[store.destination()])
            letters = _letters(tmp_path)
            _add(letters, spans[:1])
            with letters.path("store").open("a") as file:
                file.write('{"time": 1}\n')
            _add(letters, spans[1:])
            result = _run("resend", "store", "-c", config)
            assert result.exit_code == 1
            assert "1 left that cannot be read" in result.output
            assert store.ids.keys() == set(spans)
            assert letters.path("store").read_text() == '{"time": 1}\n'


class TestQuestions:
    def test_ls_and_cat_show_what_is_there(self, tmp_path: Path) -> None:
        """Counts by destination; lines with the request as OTLP/JSON."""
        config = _written(tmp_path)
        _add(_letters(tmp_path), new_ids(2))
        _add(_letters(tmp_path), new_ids(1), status=200, name="other.team-a")
        (other, store) = json.loads(_run("ls", "--json", "-c", config).output)["dead_letters"]
        assert (other["destination"], other["partial"]) == ("other.team-a", 1)
        assert (store["letters"], store["items"]["traces"], store["statuses"]) == (
            2,
            2,
            {"422": 2},
        )
        text = _run("ls", "-c", config).output
        assert "destination" in text
        assert "other.team-a" in text
        lines = [
            json.loads(line) for line in _run("cat", "store", "-c", config).output.splitlines()
        ]
        assert [line["status"] for line in lines] == [422, 422]
        (span,) = lines[0]["request"]["resourceSpans"][0]["scopeSpans"][0]["spans"]
        assert span["name"] == "step"
        limited = _run("cat", "store", "-c", config, "--limit", 1).output
        assert len(limited.splitlines()) == 1

    def test_without_any_it_says_so(self, tmp_path: Path) -> None:
        """No folder, no letters, no fault."""
        config = _written(tmp_path)
        assert _run("ls", "-c", config).output == "no dead letters\n"
        assert _run("cat", "store", "-c", config).output == ""

    def test_an_unknown_destination_is_refused(self, tmp_path: Path) -> None:
        """With the names there are."""
        with SpanStore() as store:
            config = _written(tmp_path, destinations=[store.destination()])
            result = _run("resend", "phoenix", "-c", config)
            assert result.exit_code == 2
            assert "no destination is named 'phoenix'; there are: store" in result.output

    def test_a_dry_run_sends_nothing(self, tmp_path: Path) -> None:
        """It shows what would be sent."""
        with SpanStore() as store:
            config = _written(tmp_path, destinations=[store.destination()])
            _add(_letters(tmp_path), new_ids(2))
            result = _run("resend", "store", "-c", config, "--dry-run")
            assert result.exit_code == 0
            assert "422:2" in result.output
            assert not store.ids
            assert _left(tmp_path) == 2


def test_an_interruption_loses_nothing(tmp_path: Path) -> None:
    """Ctrl-C ends it with 130; what was accepted is removed."""
    spans = new_ids(500)
    is_halfway, may_go_on = threading.Event(), threading.Event()

    def hold(_: Request) -> None:
        if len(store.ids) > 5:
            is_halfway.set()
            may_go_on.wait(PATIENCE_SECONDS)

    with SpanStore(refuse=hold) as store:
        config = _written(tmp_path, destinations=[store.destination()])
        _add(_letters(tmp_path), spans)
        process = subprocess.Popen(
            [*_COMMAND, "resend", "store", "-c", config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert is_halfway.wait(PATIENCE_SECONDS)
        process.send_signal(signal.SIGINT)
        may_go_on.set()
        _, error = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130, error
        assert b"interrupted: what was accepted is removed" in error
        assert _left(tmp_path) + len(store.ids) in (len(spans), len(spans) + 1)


@pytest.mark.real("phoenix")
def test_phoenix_stores_what_is_sent_again(
    guarded_phoenix: GuardedPhoenix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spans are in the real one, read back by their trace."""
    body = request_of(new_ids(1))
    (span,) = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    letters = _letters(tmp_path)
    record = Record("traces", body, 1, time.time_ns(), "identity")
    letters.add("phoenix", record, status=500, reason="a database that was full")
    monkeypatch.setenv("PHOENIX_API_KEY", API_KEY)
    config = _written(tmp_path, destinations=[{"type": "phoenix", "url": guarded_phoenix.url}])
    result = _run("resend", "phoenix", "-c", config)
    assert result.exit_code == 0, result.output
    reader = PhoenixReader(guarded_phoenix.url, API_KEY)
    eventually(
        lambda: [s.span_id for s in reader.trace(span.trace_id.hex())] == [span.span_id.hex()]
    )
    assert _left(tmp_path, "phoenix") == 0
