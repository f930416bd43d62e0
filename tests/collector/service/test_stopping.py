"""How the collector ends: it drains, in time, and is really gone."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from sidelight.collector.app.lifecycle import FINISH_SECONDS
from support.backend import Reply
from support.collector import Collector, settings
from support.ports import free_port
from support.raw_http import RawClient, request
from support.span_load import SpanLoad, new_ids, request_of
from support.span_store import SpanStore
from support.waiting import eventually

pytestmark = pytest.mark.slow

# A collector that is told to stop at the moment in which it says that it listens.
_STOPPED_AT_ONCE = """
import logging, os, signal
from sidelight.collector.cli.entry import main

log = logging.Logger.handle

def log_and_stop(self, record):
    log(self, record)
    if record.getMessage().startswith("listening: "):
        os.kill(os.getpid(), signal.SIGTERM)

logging.Logger.handle = log_and_stop
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    """What was acknowledged just before is at the destination afterwards."""
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()], shutdown_seconds=60)
        with (
            Collector(config, tmp_path) as collector,
            SpanLoad(http_port=collector.http_port, grpc_port=collector.grpc_port) as load,
        ):
            eventually(lambda: len(load.acknowledged) > 200)
            collector.process.send_signal(number)
            assert collector.exit_code() == 0
            load.stop()
            assert load.acknowledged <= store.ids.keys()
            assert "stopped before" not in collector.output
            assert "Traceback" not in collector.output


def test_a_signal_once_it_listens(tmp_path: Path) -> None:
    """However soon it comes, the collector drains and exits with 0."""
    command = [sys.executable, "-c", _STOPPED_AT_ONCE]
    with Collector(settings(tmp_path), tmp_path, command=command, wait=False) as collector:
        assert collector.exit_code() == 0
        assert "SIGTERM: draining" in collector.output


def test_the_next_start_brings_what_a_dead_destination_missed(tmp_path: Path) -> None:
    """With a dead destination the drain waits for nothing, and nothing is lost."""
    ids = new_ids(50)
    port = free_port()
    with SpanStore(port=port) as store:
        pass
    config = settings(tmp_path, destinations=[store.destination()], shutdown_seconds=50)
    with Collector(config, tmp_path) as collector:
        assert collector.post(request_of(ids))[0] == 200
        eventually(lambda: "nothing listens" in collector.output)
        assert collector.terminate() == 0
        assert "stopped with undelivered data of store" in collector.output
    with SpanStore(port=port) as store, Collector(config, tmp_path) as collector:
        eventually(lambda: set(ids) <= store.ids.keys())
        assert collector.terminate() == 0


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_a_destination_that_hangs_does_not_hold_the_process(tmp_path: Path, fault: str) -> None:
    """It ends after shutdown_seconds with exit 0, and the next start sends the rest."""
    ids = new_ids(10)
    with SpanStore(refuse=lambda _: Reply(fault=fault)) as store:  # type: ignore[arg-type]
        config = settings(tmp_path, destinations=[store.destination()], shutdown_seconds=0.5)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(ids))[0] == 200
            eventually(lambda: store.connections)
            assert collector.terminate() == 0
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: set(ids) <= store.ids.keys())


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    """Ctrl-C twice: exit 1 without a drain, without a traceback, and nothing is lost."""
    ids = new_ids(10)
    with SpanStore(refuse=lambda _: Reply(fault="hang")) as store:
        # A destination that gave no answer in time would end the drain.
        destination = store.destination(timeout_seconds=300)
        config = settings(tmp_path, destinations=[destination], shutdown_seconds=300)
        with Collector(config, tmp_path) as collector:
            assert collector.post(request_of(ids))[0] == 200
            eventually(lambda: store.connections)
            collector.process.send_signal(signal.SIGINT)
            eventually(lambda: "draining" in collector.output)
            collector.process.send_signal(signal.SIGINT)
            assert collector.exit_code() == 1
            assert (
                collector.messages[-1]
                == "second SIGINT: exiting now; the log keeps undelivered data"
            )
        store.refuse = lambda _: None
        with Collector(config, tmp_path):
            eventually(lambda: set(ids) <= store.ids.keys())


def test_senders_that_dawdle_do_not_hold_the_process(tmp_path: Path) -> None:
    """Half requests, idle connections and an HTTP/2 preface: none keeps it from going."""
    with Collector(settings(tmp_path, shutdown_seconds=0.5), tmp_path) as collector:
        half = request(request_of(new_ids(100)), path="/v1/traces")[:-10]
        with (
            RawClient(collector.http_port) as dawdling,
            RawClient(collector.http_port),
            RawClient(collector.serve_port),
            socket.create_connection(("127.0.0.1", collector.grpc_port)) as http2,
        ):
            dawdling.send(half)
            http2.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            assert collector.terminate() == 0


def test_a_request_that_arrives_during_the_drain_is_answered(tmp_path: Path) -> None:
    """It had begun before the signal, so it is stored and acknowledged.

    One that takes longer than FINISH_SECONDS is cut off.
    """
    ids = new_ids(100)
    whole = request(
        request_of(ids),
        path="/v1/traces",
        headers=[("Content-Type", "application/x-protobuf")],
    )
    with SpanStore() as store:
        config = settings(tmp_path, destinations=[store.destination()], shutdown_seconds=60)
        with Collector(config, tmp_path) as collector, RawClient(collector.http_port) as client:
            client.send(whole[:-10])
            eventually(lambda: collector.metric("sidelight_collector_receive_buffered_bytes"))
            start = time.monotonic()
            collector.process.send_signal(signal.SIGTERM)
            eventually(lambda: "draining" in collector.output)
            try:
                client.send(whole[-10:])
                assert client.answer().status == 200
            except (ConnectionError, EOFError):
                # Of a machine that stood still.
                assert time.monotonic() - start > FINISH_SECONDS
                ids.clear()
            assert collector.exit_code() == 0
        assert set(ids) <= store.ids.keys()


def test_a_signal_while_it_starts(tmp_path: Path) -> None:
    """At whatever moment it comes, the process is gone, and the folder is free."""
    for delay in (0.05, 0.2, 0.4, 0.6):
        with Collector(settings(tmp_path), tmp_path, wait=False) as collector:
            threading.Event().wait(delay)
            collector.process.send_signal(signal.SIGTERM)
            assert collector.exit_code() in (0, -signal.SIGTERM)
    with Collector(settings(tmp_path), tmp_path) as collector:
        assert collector.terminate() == 0
