"""A full disk and damaged files: senders are told, and only what is damaged is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.backend import Reply
from support.collector import Collector, settings
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually

pytestmark = pytest.mark.slow

_MIB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "sidelight-test", place],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"a file system can be mounted by root only: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_refuses_senders_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    """503 with Retry-After while it is full; once there is room all goes on by itself.

    The disk fills because a destination is down; as soon as that takes data, segments go.
    """
    with SpanStore(refuse=lambda _: Reply(503)) as store:
        config = settings(
            tmp_path,
            log={"directory": str(small_disk / "log"), "segment_bytes": 256 * 1024},
            destinations=[store.destination(max_backoff_seconds=0.2)],
        )
        with Collector(config, tmp_path) as collector:
            load = SpanLoad(
                http_port=collector.http_port,
                grpc_port=collector.grpc_port,
                spans_per_request=100,
                text_bytes=2000,
                pause_seconds=0,
            )
            with load:
                eventually(lambda: len(load.failures) > 20)
                # Where several requests at once found no room, one more may find some.
                large = request_of(new_ids(1), os.urandom(_MIB).hex())
                status, headers, _ = collector.post(large)
                assert (status, headers.get("Retry-After")) == (503, "5")
                eventually(lambda: collector.get("/readyz")[0] == 503)
                before = len(load.acknowledged)
                store.refuse = lambda _: None
                eventually(lambda: len(load.acknowledged) > before + 2000)
                load.stop()
            eventually(lambda: load.acknowledged <= store.ids.keys())
            # Retention makes room every few seconds.
            eventually(lambda: collector.get("/readyz")[0] == 200)
            assert collector.metric("sidelight_collector_dropped_total") == 0
            assert collector.terminate() == 0


def test_flipped_bits_cost_the_damaged_record_only(tmp_path: Path) -> None:
    """The record is skipped and counted, its neighbours come, before and after a restart."""
    batches = [new_ids(10) for _ in range(5)]
    config = settings(tmp_path)
    with Collector(config, tmp_path) as collector:
        ends = []
        for ids in batches:
            assert collector.post(request_of(ids))[0] == 200
            (segment,) = (tmp_path / "log").glob("*.segment")
            ends.append(segment.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[(ends[1] + ends[2]) // 2] ^= 0x10
    segment.write_bytes(data)
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            kept = {each for ids in batches if ids is not batches[2] for each in ids}
            eventually(lambda: kept <= store.ids.keys())
            assert store.ids.keys() == kept
            dropped = collector.metric("sidelight_collector_dropped_total", reason="damaged")
            assert dropped == 1
            assert "skipped" in collector.output
            new = new_ids(3)
            assert collector.post(request_of(new))[0] == 200
            eventually(lambda: set(new) <= store.ids.keys())
