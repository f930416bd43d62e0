"""Every format of the log that was ever released is read; any other is refused, not damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sidelight.collector.log.disk.format import VERSION
from sidelight.collector.log.disk.header import HEADER_BYTES, MAGIC
from sidelight.collector.log.durable_log import DurableLog
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.record import Record
from support.paths import DATA

_FOLDERS = sorted(path.name for path in (DATA / "log").iterdir())
_ANOTHER = bytes((MAGIC[-1] + 1,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of one segment with two records."""
    log = _open(tmp_path)
    for payload in (b"one", b"two"):
        log.append([Record("traces", payload, 1, 1_700_000_000_000_000_000, "identity")])
    log.close()
    return tmp_path


def _open(directory: Path) -> DurableLog:
    return DurableLog(directory, segment_bytes=1 << 20)


def _segment(directory: Path) -> Path:
    return max(directory.glob("*.segment"))


def _payloads(log: DurableLog) -> list[bytes]:
    cursor = log.cursor("new")
    position, payloads = cursor.position, []
    while (entry := cursor.read(position)) is not None:
        payloads.append(entry.record.payload)
        position = entry.end
    return payloads


def _refused(directory: Path, words: str) -> None:
    """The start fails with one sentence, and leaves every byte as it was."""
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(LogError, match=words) as refusal:
        _open(directory)
    assert "\n" not in str(refusal.value)
    assert "log.directory" in str(refusal.value)
    assert all(path.read_bytes() == data for path, data in before.items())


@pytest.mark.parametrize("name", _FOLDERS)
def test_a_folder_of_every_format_is_read(tmp_path: Path, name: str) -> None:
    """Records of all signals over two segments, a cursor within the first, and it is continued."""
    shutil.copytree(DATA / "log" / name, tmp_path / "log")
    log = _open(tmp_path / "log")
    phoenix = log.cursor("phoenix")
    signals, position = [], phoenix.position
    while (entry := phoenix.read(position)) is not None:
        assert entry.skipped_bytes == 0
        assert entry.record.body()
        signals.append(entry.record.signal)
        position = entry.end
    assert signals == ["metrics", "logs", "traces"]
    assert len(_payloads(log)) == 4
    log.append([Record("traces", b"new", 1, 0, "identity")])
    assert _payloads(log)[-1] == b"new"
    log.close()
    assert (tmp_path / "log" / "format").read_bytes() == b"%d\n" % VERSION


def test_there_is_a_folder_of_the_newest_format() -> None:
    """Who raises the version commits a folder of it."""
    assert f"format-{VERSION}" in _FOLDERS


def test_a_new_folder_says_its_version(folder: Path) -> None:
    """In a file that only its owner can read."""
    assert (folder / "format").read_bytes() == b"%d\n" % VERSION
    assert (folder / "format").stat().st_mode & 0o777 == 0o600


def test_a_newer_format_is_refused(folder: Path) -> None:
    """The sentence names both versions and what to do."""
    (folder / "format").write_text("2\n")
    _refused(folder, "has format 2, and this version of sidelight reads formats up to 1: start")


@pytest.mark.parametrize("text", ["", "two", "\0\0"])
def test_a_format_that_is_no_number_is_refused(folder: Path, text: str) -> None:
    """Guessing could cut what another version wrote."""
    (folder / "format").write_text(text)
    _refused(folder, "holds no version")


@pytest.mark.parametrize("keeps", [0, 1])
def test_records_of_another_format_are_not_cut(folder: Path, keeps: int) -> None:
    """Without the file too: a downgrade finds them at the end of the newest segment."""
    (folder / "format").unlink()
    path = _segment(folder)
    data = path.read_bytes()
    at = keeps * (HEADER_BYTES + 3)
    other = data[at:].replace(MAGIC, MAGIC[:-1] + _ANOTHER)
    # Its checksum is not ours either.
    path.write_bytes(data[:at] + other[:4] + b"\1\2\3\4" + other[8:])
    _refused(folder, "is in a format that this version of sidelight cannot read")


def test_a_file_that_holds_no_record_is_not_cut(folder: Path) -> None:
    """No crash leaves such bytes: something else is in the segment's place."""
    _segment(folder).write_bytes(b"PK\3\4" + bytes(range(100)))
    _refused(folder, "is in a format that this version of sidelight cannot read")


def test_a_flipped_bit_in_the_version_is_damage(folder: Path) -> None:
    """The checksum tells it from another format: the start succeeds and the record is skipped."""
    path = _segment(folder)
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 3 + len(MAGIC) - 1] ^= 2
    path.write_bytes(data)
    log = _open(folder)
    assert _payloads(log) == [b"one"]
    assert path.read_bytes() == bytes(data)
    log.append([Record("traces", b"three", 1, 0, "identity")])
    assert _payloads(log) == [b"one", b"three"]
    log.close()


@pytest.mark.parametrize("at", range(HEADER_BYTES))
def test_a_flipped_bit_in_the_only_record_does_not_stop_a_start(tmp_path: Path, at: int) -> None:
    """Wherever in the header: damage of ours is not another format."""
    log = _open(tmp_path)
    log.append([Record("traces", b"one", 1, 1_700_000_000_000_000_000, "identity")])
    log.close()
    path = _segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)
    log = _open(tmp_path)
    log.append([Record("traces", b"two", 1, 0, "identity")])
    assert _payloads(log) == [b"two"]
    log.close()


@pytest.mark.parametrize("tail", [b"\0" * 500, MAGIC[:2], MAGIC + b"\0" * 20])
def test_what_a_crash_leaves_is_cut(folder: Path, tail: bytes) -> None:
    """The start of a record, or zeros where a power cut came before the bytes."""
    path = _segment(folder)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + tail)
    log = _open(folder)
    assert path.stat().st_size == size
    assert _payloads(log) == [b"one", b"two"]
    log.close()
