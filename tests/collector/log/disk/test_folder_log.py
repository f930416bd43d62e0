"""The segment log keeps what it acknowledged, whatever happens to process, disk and files."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.collector.log.disk.header import HEADER_BYTES
from sidelight.collector.log.errors import LogError
from sidelight.collector.log.position import Position
from sidelight.collector.log.record import ENCODINGS, Record
from sidelight.otlp.signals import SIGNALS
from support.folder_logs import opened, read_all, record_of, segment_of


class TestAppendAndRead:
    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.builds(
                Record,
                st.sampled_from(SIGNALS),
                st.binary(max_size=300),
                st.integers(0, 2**32 - 1),
                st.integers(0, 2**63),
                st.sampled_from(ENCODINGS),
            ),
            max_size=30,
        ),
        st.integers(1, 2000),
    )
    def test_what_was_appended_is_read_back_in_order(
        self, tmp_path_factory: pytest.TempPathFactory, records: list[Record], segment_bytes: int
    ) -> None:
        """Any records, over any number of segments, come back as they went in, also reopened."""
        directory = tmp_path_factory.mktemp("log")
        log = opened(directory, segment_bytes)
        for record in records:
            log.append([record])
        log.close()
        log = opened(directory, segment_bytes)
        position, found = Position(0, 0, 0), []
        while (entry := log.read(position)) is not None:
            found.append(entry.record)
            assert entry.skipped_bytes == 0
            position = entry.end
        assert found == records
        assert position == log.end or not records
        log.close()

    def test_a_disk_that_takes_a_little_at_a_time_gets_it_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write that the kernel ends early is continued at the byte where it ended."""
        whole = os.pwritev

        def little(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
            return whole(fd, [b"".join(buffers)[:7]], offset)

        records = [record_of(b"first"), record_of(b""), record_of(b"third" * 20)]
        log = opened(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwritev", little)
            log.append(records)
        assert read_all(log) == [record.payload for record in records]
        log.close()

    def test_records_beyond_what_one_call_takes_are_written(self, tmp_path: Path) -> None:
        """Thousands of records in one append are more buffers than the kernel takes at once."""
        payloads = [str(number).encode() for number in range(2_000)]
        log = opened(tmp_path)
        log.append([record_of(payload) for payload in payloads])
        assert read_all(log) == payloads
        log.close()

    def test_a_folder_has_one_owner(self, tmp_path: Path) -> None:
        """A second process on the same folder is told which folder and what to do."""
        log = opened(tmp_path)
        with pytest.raises(LogError, match=r"in use by another.*log\.directory"):
            opened(tmp_path)
        log.close()
        opened(tmp_path).close()

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        """The error names the folder and the reason."""
        (tmp_path / "file").write_text("")
        with pytest.raises(LogError, match="Not a directory"):
            opened(tmp_path / "file" / "log")


class TestDamage:
    def test_a_torn_tail_is_cut(self, tmp_path: Path) -> None:
        """After a crash in mid-write the whole records stay and the next append follows them."""
        for cut in range(1, HEADER_BYTES + 5):
            directory = tmp_path / str(cut)
            log = opened(directory)
            log.append([record_of(b"first"), record_of(b"torn!")])
            log.close()
            path = segment_of(directory)
            os.truncate(path, path.stat().st_size - cut)
            log = opened(directory)
            log.append([record_of(b"after")])
            assert read_all(log) == [b"first", b"after"]
            log.close()

    def test_what_a_start_finds_is_on_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that was killed before its fdatasync leaves records in the page cache alone;
        who sends them again is told that they are stored.
        """
        with monkeypatch.context() as killed:
            killed.setattr(os, "fdatasync", lambda _: None)
            log = opened(tmp_path)
            log.append([record_of(b"written")])
            log.close()
        synced: list[tuple[int, int]] = []
        fdatasync = os.fdatasync

        def sync(fd: int) -> None:
            found = os.fstat(fd)
            synced.append((found.st_ino, found.st_size))
            fdatasync(fd)

        monkeypatch.setattr(os, "fdatasync", sync)
        log = opened(tmp_path)
        found = segment_of(tmp_path).stat()
        assert synced == [(found.st_ino, found.st_size)]
        assert read_all(log) == [b"written"]
        log.close()

    def test_damage_at_the_very_end_is_no_torn_tail(self, tmp_path: Path) -> None:
        """A last record of full length with a flipped bit in its payload is reported, not cut:
        it had been acknowledged.
        """
        log = opened(tmp_path)
        log.append([record_of(b"first"), record_of(b"rotten")])
        end = log.end
        log.close()
        path = segment_of(tmp_path)
        data = bytearray(path.read_bytes())
        data[-3] ^= 0x40
        path.write_bytes(data)
        log = opened(tmp_path)
        assert log.end == end
        log.append([record_of(b"after")])
        first = log.read(Position(0, 1, 0))
        assert first is not None
        second = log.read(first.end)
        assert second is not None
        assert second.record.payload == b"after"
        assert second.skipped_bytes == HEADER_BYTES + 6
        log.close()
        log = opened(tmp_path)
        assert read_all(log) == [b"first", b"after"]
        log.close()

    def test_damage_costs_the_damaged_record_only(self, tmp_path: Path) -> None:
        """Any flipped bit in the middle record loses that record, is reported, and nothing else."""
        size = HEADER_BYTES + 6
        for at in range(size):
            directory = tmp_path / str(at)
            log = opened(directory)
            log.append([record_of(b"before"), record_of(b"middle"), record_of(b"behind")])
            log.close()
            path = segment_of(directory)
            data = bytearray(path.read_bytes())
            data[size + at] ^= 0x40
            path.write_bytes(data)
            log = opened(directory)
            first = log.read(Position(0, 1, 0))
            assert first is not None
            second = log.read(first.end)
            assert second is not None
            assert (first.record.payload, second.record.payload) == (b"before", b"behind")
            assert second.skipped_bytes == size
            assert log.read(second.end) is None
            log.close()

    def test_a_probe_leaves_no_trace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It tells whether the disk takes data; the file stays as it was."""
        log = opened(tmp_path)
        log.append([record_of(b"kept")])
        good = segment_of(tmp_path).read_bytes()
        log.probe()

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full)
            with pytest.raises(OSError, match="No space"):
                log.probe()
        assert segment_of(tmp_path).read_bytes() == good
        log.append([record_of(b"next")])
        assert read_all(log) == [b"kept", b"next"]
        log.close()

    def test_a_refusing_disk_stores_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failed append raises, leaves no trace, and a later one succeeds."""
        log = opened(tmp_path)
        log.append([record_of(b"kept")])
        good = segment_of(tmp_path).stat().st_size

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full)
            with pytest.raises(OSError, match="No space"):
                log.append([record_of(b"lost")])
        assert segment_of(tmp_path).stat().st_size == good
        log.append([record_of(b"again")])
        assert read_all(log) == [b"kept", b"again"]
        log.close()
