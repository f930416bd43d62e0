"""`sidelight log`: what it shows is what is stored, and nothing is harmed by looking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.collector.cli.main import sidelight
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.record import Record, encode
from support.span_load import new_ids, request_of

_SECOND = 1_000_000_000


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(sidelight, ["log", *map(str, arguments)])


def _json_ls(directory: Path, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        _run("ls", "--json", "--directory", directory, *options).stdout
    )["folders"][0]
    return found


class _Stored:
    """Three segments: traces, logs, traces; one cursor at the second, one at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.start_ns = time.time_ns() - 3600 * _SECOND
        self.trace_bodies = [request_of(new_ids(2)), request_of(new_ids(3))]
        logs = ExportLogsServiceRequest()
        first = ExportTraceServiceRequest.FromString(self.trace_bodies[0])
        self.trace_id = first.resource_spans[0].scope_spans[0].spans[1].trace_id
        records = logs.resource_logs.add().scope_logs.add().log_records
        records.add(trace_id=self.trace_id).body.string_value = "of the trace"
        records.add().body.string_value = "of none"
        self.log_body = logs.SerializeToString()
        log = DurableLog(directory, segment_bytes=1)
        for number, (kind, body, items) in enumerate(
            [
                ("traces", self.trace_bodies[0], 2),
                ("logs", self.log_body, 2),
                ("traces", self.trace_bodies[1], 3),
            ]
        ):
            at = self.start_ns + number * 600 * _SECOND
            log.append([Record(kind, encode(body, "gzip"), items, at)])  # type: ignore[arg-type]
        phoenix = log.cursor("phoenix")
        entry = phoenix.read(phoenix.position)
        assert entry is not None
        phoenix.commit(entry.end)
        log.cursor("langfuse.team-a").commit(log.end)
        log.close()

    def segment(self, number: int) -> Path:
        return self.directory / f"{number:020d}.segment"


@pytest.fixture
def stored(tmp_path: Path) -> _Stored:
    """A log folder that no collector has open."""
    return _Stored(tmp_path / "log")


class TestLs:
    def test_segments_and_cursors(self, stored: _Stored) -> None:
        """Records and items of each segment; how far each cursor is behind."""
        found = _json_ls(stored.directory)
        assert [each["records"] for each in found["segments"]] == [1, 1, 1]
        assert [each["items"]["traces"] for each in found["segments"]] == [2, 0, 3]
        assert all(
            each["bytes"] == stored.segment(each["segment"]).stat().st_size
            for each in found["segments"]
        )
        cursors = {each["cursor"]: each for each in found["cursors"]}
        assert cursors["langfuse.team-a"]["records_behind"] == 0
        assert cursors["langfuse.team-a"]["seconds_behind"] == 0
        behind = cursors["phoenix"]
        assert behind["items_behind"] == {"traces": 3, "metrics": 0, "logs": 2}
        assert behind["records_behind"] == 2
        assert 2900 < behind["seconds_behind"] < 3200

    def test_for_people(self, stored: _Stored) -> None:
        """The same as a table."""
        result = _run("ls", "--directory", stored.directory)
        assert result.exit_code == 0
        assert "3 segments" in result.stdout
        assert "langfuse.team-a" in result.stdout

    def test_damage_in_a_payload_is_found_by_check(self, stored: _Stored) -> None:
        """Headers alone do not show it; --check does, and exits 1."""
        path = stored.segment(1)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        assert _run("ls", "--directory", stored.directory).exit_code == 0
        assert _json_ls(stored.directory, "--check")["segments"][0]["damaged_bytes"] == len(data)
        assert _run("ls", "--check", "--directory", stored.directory).exit_code == 1

    def test_damage_in_the_last_payload(self, stored: _Stored) -> None:
        """It is damage like any other, not something unfinished."""
        path = stored.segment(3)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        newest = _json_ls(stored.directory, "--check")["segments"][-1]
        assert (newest["damaged_bytes"], newest["unfinished_bytes"]) == (len(data), 0)

    def test_a_damaged_header_is_found_at_once(self, stored: _Stored) -> None:
        """Bytes of no record are damage; at the end of the newest segment they are unfinished."""
        for number in (1, 3):
            with stored.segment(number).open("ab") as file:
                file.write(b"SLR")
        segments = _json_ls(stored.directory)["segments"]
        assert [each["damaged_bytes"] for each in segments] == [3, 0, 0]
        assert [each["unfinished_bytes"] for each in segments] == [0, 0, 3]

    def test_an_unreadable_cursor(self, stored: _Stored) -> None:
        """It is named, everything lies before it, and the exit code is 1."""
        (stored.directory / "cursors" / "phoenix.json").write_text("{")
        result = _run("ls", "--directory", stored.directory)
        assert result.exit_code == 1
        assert "unreadable" in result.stdout

    def test_folders_of_workers(self, tmp_path: Path) -> None:
        """Each worker's folder below the named one is shown."""
        names = ("worker-0", "worker-1")
        for name in names:
            _Stored(tmp_path / name)
        found = json.loads(_run("ls", "--json", "--directory", tmp_path).stdout)["folders"]
        assert [each["directory"] for each in found] == [str(tmp_path / n) for n in names]

    def test_no_log_folder(self, tmp_path: Path) -> None:
        """A sentence that names the folder and the option, and exit 1."""
        for directory in (tmp_path, tmp_path / "none"):
            result = _run("ls", "--directory", directory)
            assert result.exit_code == 1
            assert str(directory) in result.stderr
            assert "--directory" in result.stderr

    def test_the_configured_folder(self, stored: _Stored, tmp_path: Path) -> None:
        """Without --directory the configuration says where the log is."""
        file = tmp_path / "sidelight.yaml"
        file.write_text(json.dumps({"log": {"directory": str(stored.directory)}}))
        assert _run("ls", "--config", file).exit_code == 0
        file.write_text("log: {directroy: x}")
        assert _run("ls", "--config", file).exit_code == 2


class TestCat:
    def _lines(self, stored: _Stored, *options: object) -> list[dict[str, Any]]:
        result = _run("cat", "--directory", stored.directory, *options)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def test_one_request_a_line(self, stored: _Stored) -> None:
        """OTLP/JSON, oldest first, ids in hex."""
        first, second, third = self._lines(stored)
        assert list(second) == ["resourceLogs"]
        spans = first["resourceSpans"][0]["scopeSpans"][0]["spans"]
        assert spans[1]["traceId"] == stored.trace_id.hex()
        assert len(third["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 3

    def test_protobuf_is_byte_for_byte_what_is_stored(self, stored: _Stored) -> None:
        """Each request behind its length."""
        result = _run("cat", "--directory", stored.directory, "--format", "protobuf")
        bodies = (stored.trace_bodies[0], stored.log_body, stored.trace_bodies[1])
        expected = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
        assert result.stdout_bytes == expected

    def test_filters(self, stored: _Stored) -> None:
        """By signal, time, segment, position and number."""
        assert len(self._lines(stored, "--signal", "traces")) == 2
        assert len(self._lines(stored, "--signal", "traces", "--signal", "logs")) == 3
        assert len(self._lines(stored, "--since", "45m")) == 1
        assert len(self._lines(stored, "--until", "45m")) == 2
        assert len(self._lines(stored, "--segment", "2")) == 1
        assert len(self._lines(stored, "--from", "2:0")) == 2
        assert len(self._lines(stored, "--limit", "2")) == 2
        assert self._lines(stored, "--since", "1m") == []

    def test_a_trace(self, stored: _Stored) -> None:
        """Its spans and log records alone."""
        spans, logs = self._lines(stored, "--trace-id", stored.trace_id.hex())
        assert len(spans["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 1
        (record,) = logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        assert record["body"]["stringValue"] == "of the trace"

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--trace-id", "abc"), "32 hexadecimal digits"),
            (("--since", "yesterday"), "'yesterday' is no time"),
            (("--from", "7"), "SEGMENT:OFFSET"),
        ],
    )
    def test_bad_options(self, stored: _Stored, options: tuple[str, ...], said: str) -> None:
        """Exit 2 and what to write instead."""
        result = _run("cat", "--directory", stored.directory, *options)
        assert result.exit_code == 2
        assert said in result.stderr

    @pytest.mark.slow
    def test_it_may_be_piped_and_interrupted(self, tmp_path: Path) -> None:
        """A reader that has enough, and Ctrl-C, end it without a word; 0 and 130."""
        log = DurableLog(tmp_path / "log", segment_bytes=1 << 20)
        record = Record("traces", encode(request_of(new_ids(500)), "gzip"), 500, time.time_ns())
        for _ in range(100):
            log.append([record] * 10)
        log.close()
        command = [sys.executable, "-m", "sidelight.collector", "log", "cat", "--directory"]
        for is_interrupted in (False, True):
            with subprocess.Popen(
                [*command, tmp_path / "log"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                assert os.read(process.stdout.fileno(), 1000)
                if is_interrupted:
                    process.send_signal(signal.SIGINT)
                    # A reader that leaves at the same time would be the other case.
                    _, error = process.communicate(timeout=120)
                else:
                    process.stdout.close()
                    error = process.stderr.read()
                assert error == b""
                assert process.wait(120) == (130 if is_interrupted else 0)


class TestReplay:
    def test_a_dry_run_counts_and_changes_nothing(self, stored: _Stored) -> None:
        """What stands between the place and the cursor is counted."""
        result = _run(
            "replay", "langfuse.team-a", "--all", "--dry-run", "--directory", stored.directory
        )
        assert result.exit_code == 0
        assert "5 spans, 2 log records again" in result.stdout
        assert _json_ls(stored.directory)["cursors"][0]["records_behind"] == 0

    def test_from_a_time(self, stored: _Stored) -> None:
        """The cursor goes back to the first record stored then."""
        result = _run(
            "replay", "langfuse.team-a", "--since", "55m", "--directory", stored.directory
        )
        assert result.exit_code == 0
        assert "3 spans" in result.stdout
        assert "the next start" in result.stdout
        cursors = {each["cursor"]: each for each in _json_ls(stored.directory)["cursors"]}
        assert cursors["langfuse.team-a"]["position"] == "2:0"
        assert cursors["langfuse.team-a"]["items_behind"]["traces"] == 3

    def test_from_a_position(self, stored: _Stored) -> None:
        """One before the cursor is taken, one behind it would skip data and is refused."""
        options = ("--directory", stored.directory)
        assert _run("replay", "phoenix", "--from", "1:0", *options).exit_code == 0
        assert _json_ls(stored.directory)["cursors"][1]["position"] == "1:0"
        result = _run("replay", "phoenix", "--from", "3:0", *options)
        assert result.exit_code == 1
        assert "would never be sent" in result.stderr

    def test_nothing_left(self, stored: _Stored) -> None:
        """Nothing since then, nothing done, exit 0."""
        result = _run("replay", "phoenix", "--since", "1m", "--directory", stored.directory)
        assert result.exit_code == 0
        assert "nothing that phoenix has had" in result.stdout

    def test_what_cannot_be(self, stored: _Stored) -> None:
        """An unknown destination hears the known ones; without a place it is asked for one."""
        result = _run("replay", "tempo", "--all", "--directory", stored.directory)
        assert result.exit_code == 1
        assert "langfuse.team-a, phoenix" in result.stderr
        result = _run("replay", "phoenix", "--directory", stored.directory)
        assert result.exit_code == 2
        assert "--since" in result.stderr
