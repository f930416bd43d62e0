"""The file destination: real files, read back."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sidelight.collector.destinations.common.outcome import Delivered, Retry
from sidelight.collector.destinations.file.config import FileDestination
from sidelight.collector.destinations.file.exporter import FileWriter
from support import otlp_requests
from support.spans import Made, decoded, record


def build(directory: Path, **options: object) -> FileWriter:
    config = {"type": "file", "directory": directory} | options
    return FileWriter(FileDestination.model_validate(config))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_json_is_otlp_json(tmp_path: Path) -> None:
    """A line is an export request in OTLP/JSON: ids in hex, enums as numbers, nothing lost."""
    stored = record(Made("root", error=True), Made("child", parent="root", attributes={"n": 7}))
    writer = build(tmp_path)
    assert await writer.send(stored) == Delivered()
    assert await writer.send(otlp_requests.metrics()) == Delivered()
    writer.close()
    metrics, traces = sorted(tmp_path.iterdir())
    assert (metrics.name[:8], traces.name[:7]) == ("metrics-", "traces-")
    assert traces.stat().st_mode & 0o777 == 0o600
    (line,) = lines(traces)
    spans = [each["scopeSpans"][0]["spans"][0] for each in line["resourceSpans"]]
    assert spans[1]["parentSpanId"] == spans[0]["spanId"] == b"----root".hex()
    assert spans[0]["status"] == {"code": 2}
    for span in spans:
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    assert json_format.ParseDict(line, ExportTraceServiceRequest()) == decoded(stored)


async def test_protobuf_has_its_length_before_it(tmp_path: Path) -> None:
    """Each message stands behind its length in four bytes, big-endian."""
    stored = [record(Made(name)) for name in "abc"]
    writer = build(tmp_path, format="protobuf", signals=["traces"])
    for each in stored:
        assert await writer.send(each) == Delivered()
    writer.close()
    (path,) = tmp_path.iterdir()
    data, found = path.read_bytes(), []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        found.append(ExportTraceServiceRequest.FromString(data[4:end]))
        data = data[end:]
    assert found == [decoded(each) for each in stored]


async def test_files_rotate_by_size(tmp_path: Path) -> None:
    """A file stays below the size, the newest files are kept, nothing is cut in two."""
    writer = build(tmp_path, max_bytes=1024, max_files=3)
    for number in range(30):
        assert await writer.send(record(Made(f"span {number}"))) == Delivered()
    writer.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert all(path.stat().st_size <= 1024 for path in files)
    names = [
        each["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"]
        for path in files
        for each in lines(path)
    ]
    assert names == [f"span {number}" for number in range(30 - len(names), 30)]


async def test_a_new_process_begins_new_files(tmp_path: Path) -> None:
    """What a crash tore off stays the end of its file; numbers go on whatever the clock says."""
    first = build(tmp_path)
    await first.send(record(Made("a")))
    (torn,) = tmp_path.iterdir()
    with torn.open("a") as file:
        file.write('{"torn')
    second = build(tmp_path)
    await second.send(record(Made("b")))
    newest = max(tmp_path.iterdir(), key=lambda path: path.name.rpartition("-")[2])
    assert newest.name.rpartition("-")[2] == "00000002.jsonl"
    assert len(lines(newest)) == 1
    first.close()
    second.close()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_refuses_is_asked_again(tmp_path: Path) -> None:
    """Of a batch that does not fit nothing stays; later it is written whole."""
    writer = build(tmp_path)
    assert await writer.send(record(Made("first"))) == Delivered()
    (path,) = tmp_path.iterdir()
    before = path.stat().st_size
    with largest_file(before + 100):
        outcome = await writer.send(record(Made("second")))
    assert isinstance(outcome, Retry)
    assert "File too large" in outcome.reason
    assert path.stat().st_size == before
    assert await writer.send(record(Made("second"))) == Delivered()
    assert len(lines(path)) == 2
    writer.close()


async def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    """A folder that is a file loses nothing, and its path is named."""
    (tmp_path / "taken").write_text("")
    writer = build(tmp_path / "taken")
    outcome = await writer.send(record(Made("a")))
    assert isinstance(outcome, Retry)
    assert str(tmp_path / "taken") in outcome.reason


async def test_closing_leaves_a_send_under_way_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes must not go to whatever is opened next; it closes its files when it ends."""
    writer = build(tmp_path / "files")
    assert await writer.send(record(Made("first"))) == Delivered()
    (path,) = (tmp_path / "files").iterdir()
    is_writing, may_write = threading.Event(), threading.Event()
    write = os.write

    def wait_and_write(descriptor: int, data: bytes) -> int:
        # Other threads of this process write, too.
        if _target(Path(f"/proc/self/fd/{descriptor}")).startswith(str(tmp_path)):
            is_writing.set()
            assert may_write.wait(120)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", wait_and_write)
    sending = asyncio.create_task(writer.send(record(Made("second"))))
    assert await asyncio.to_thread(is_writing.wait, 120)
    writer.close()
    with (tmp_path / "other").open("wb"):
        may_write.set()
        assert await sending == Delivered()
    assert (tmp_path / "other").read_bytes() == b""
    assert len(lines(path)) == 2
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if _target(fd) == str(path)]
    assert isinstance(await writer.send(record(Made("third"))), Retry)


async def test_a_cancelled_send_ends_with_its_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows writes to the same folder, and the same record."""
    writer = build(tmp_path / "files")
    is_writing, may_write = threading.Event(), threading.Event()
    write = os.write

    def wait_and_write(descriptor: int, data: bytes) -> int:
        # Other threads of this process write, too.
        if _target(Path(f"/proc/self/fd/{descriptor}")).startswith(str(tmp_path)):
            is_writing.set()
            assert may_write.wait(120)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", wait_and_write)
    sending = asyncio.create_task(writer.send(record(Made("first"))))
    assert await asyncio.to_thread(is_writing.wait, 120)
    for _ in range(2):
        sending.cancel()
        await asyncio.sleep(0)
        assert not sending.done()
    may_write.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    (path,) = (tmp_path / "files").iterdir()
    assert len(lines(path)) == 1
    writer.close()


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("option", [{"max_files": 1}, {"signals": []}, {"format": "csv"}])
def test_bad_options_are_refused(tmp_path: Path, option: dict[str, object]) -> None:
    """Options that cannot work are errors of the configuration."""
    with pytest.raises(ValueError, match=next(iter(option))):
        build(tmp_path, **option)


def _unlink(path: Path) -> None:
    path.unlink()


def _rename(path: Path) -> None:
    path.rename(path.with_name("taken.jsonl"))


def _truncate(path: Path) -> None:
    os.truncate(path, 0)


def _take_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("taken"))


@pytest.mark.parametrize("take_away", [_unlink, _rename, _truncate, _take_folder])
async def test_a_file_that_is_taken_away_takes_no_more(
    tmp_path: Path, take_away: Callable[[Path], None]
) -> None:
    """What counts as delivered is in a file that has its name."""
    directory = tmp_path / "files"
    writer = build(directory)
    assert await writer.send(record(Made("first"))) == Delivered()
    (path,) = directory.iterdir()
    take_away(path)
    assert await writer.send(record(Made("second"))) == Delivered()
    writer.close()
    texts = [file.read_text() for file in directory.iterdir() if file.name != "taken.jsonl"]
    assert sum("second" in text for text in texts) == 1


async def test_a_file_that_goes_during_a_write_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows who finds it: the batch is written to the next one."""
    writer = build(tmp_path)
    assert await writer.send(record(Made("first"))) == Delivered()
    (path,) = tmp_path.iterdir()
    sync = os.fdatasync

    def taken(fd: int) -> None:
        sync(fd)
        path.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", taken)
        outcome = await writer.send(record(Made("second")))
    assert isinstance(outcome, Retry)
    assert await writer.send(record(Made("second"))) == Delivered()
    writer.close()
    (path,) = tmp_path.iterdir()
    assert "second" in path.read_text()
