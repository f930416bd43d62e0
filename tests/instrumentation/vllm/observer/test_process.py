"""The observer process and plain processes that write to it as vLLM's API servers do."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.observer.rendezvous import DIRECTORY_VARIABLE
from support.observer_writer import observers, writing
from support.otlp_receiver import OtlpReceiver
from support.paths import TESTS
from support.ports import free_port
from support.process_tree import below
from support.waiting import eventually

pytestmark = pytest.mark.slow

STARTER = f"""
import os
from sidelight.instrumentation.vllm.observer import rendezvous
from support.patient_end import wait_longer

wait_longer()
rendezvous.announce()
print(os.environ["{DIRECTORY_VARIABLE}"], flush=True)
input()
"""

SERVING_STARTER = STARTER.replace("rendezvous.announce()", "starter.serve_api_servers()").replace(
    "import rendezvous", "import starter"
)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Where the observer process sends."""
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A place of its own, whose observer process has ended when the test has."""
    # The path of a socket must be short.
    path = Path("/tmp") / f"sidelight-test-{secrets.token_hex(8)}"
    yield path
    eventually(lambda: not observers(path), "the observer process to end")
    assert not path.exists()


def has(receiver: OtlpReceiver, *ids: str) -> bool:
    """Whether the spans of these requests have come, each once."""
    came = [span.attributes.get(names.RESPONSE_ID) for span in receiver.spans()]
    return all(came.count(id_) == 1 for id_ in ids)


def dropped(receiver: OtlpReceiver) -> int:
    """Records that could not be handed over, as the metric says."""
    points = receiver.metrics().get(names.INSTRUMENTATION_DROPPED, [])
    return sum(
        point.as_int
        for point in points
        if any(pair.value.string_value == "capture" for pair in point.attributes)
    )


def test_api_servers_share_it(receiver: OtlpReceiver, place: Path) -> None:
    """Two API servers meet in one process, whose last spans are sent before the last one ends."""
    with writing(place, receiver.url) as first, writing(place, receiver.url) as second:
        (observer,) = observers(place)
        assert place.stat().st_mode & 0o777 == 0o700
        # Every user can read the arguments.
        arguments = Path(f"/proc/{observer}/cmdline").read_bytes()
        assert place.name.encode() not in arguments
        first.do("request chatcmpl-a")
        first.do("stop")
        first.process.wait()
        assert observers(place) == [observer]
        second.do("request chatcmpl-b")
        second.do("stop")
        second.process.wait()
        # Without waiting: it may be the first process of a container, which ends all others.
        assert has(receiver, "chatcmpl-a", "chatcmpl-b")
        assert names.ENGINE_STEPS in receiver.metrics()


def test_it_is_killed(receiver: OtlpReceiver, place: Path) -> None:
    """It is started again, after which requests have their spans; what was dropped is counted."""
    with writing(place, receiver.url) as writer:
        writer.do("request chatcmpl-before")
        receiver.wait_for(lambda: has(receiver, "chatcmpl-before"))
        (first,) = observers(place)
        os.kill(first, signal.SIGKILL)
        # Also where no request comes that would miss it.
        eventually(lambda: [pid for pid in observers(place) if pid != first])
        killed = {first}

        def away() -> bool:
            # The next one may be there before the request is.
            writer.do("connect")
            for observer in observers(place):
                os.kill(observer, signal.SIGKILL)
                killed.add(observer)
            writer.do("request chatcmpl-lost")
            return "is away" in writer.log.read_text()

        eventually(away)
        writer.do("connect")
        writer.do("request chatcmpl-after")
        receiver.wait_for(lambda: has(receiver, "chatcmpl-after"))
        receiver.wait_for(lambda: dropped(receiver) > 0)
        assert not killed & set(observers(place))


def test_its_lines_are_in_vllms_log(place: Path) -> None:
    """An API server logs them, as vLLM has configured it; at the end too."""
    with writing(place, f"http://127.0.0.1:{free_port()}") as writer:
        eventually(lambda: "cannot send metrics" in writer.log.read_text())
        writer.do("request chatcmpl-a")
        writer.do("stop")
        writer.process.wait()
        lines = writer.log.read_text().splitlines()
    # Without a configuration, a line has no beginning.
    assert lines
    assert all(line.startswith("Sidelight: ") for line in lines)
    assert any("did not take before vLLM ended: 1. They are lost." in line for line in lines)


def test_it_is_frozen(receiver: OtlpReceiver, place: Path) -> None:
    """A full pipe never blocks a writer: what does not fit is dropped, counted and told."""
    with writing(place, receiver.url) as writer:
        (observer,) = observers(place)
        os.kill(observer, signal.SIGSTOP)
        assert int(writer.do("large 30")) > 20
        os.kill(observer, signal.SIGCONT)
        writer.do("connect")

        def goes_on() -> bool:
            writer.do("request chatcmpl-after")
            return dropped(receiver) > 20

        receiver.wait_for(goes_on)
        assert "does not keep up" in writer.log.read_text()


def test_vllm_is_killed(receiver: OtlpReceiver, place: Path) -> None:
    """It sends what it has and ends, though a child of the killed process lives on."""
    with writing(place, receiver.url) as writer:
        child = int(writer.do("fork"))
        try:
            writer.do("request chatcmpl-a")
            writer.process.kill()
            receiver.wait_for(lambda: has(receiver, "chatcmpl-a"))
            eventually(lambda: not observers(place))
            os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


def test_vllm_kills_an_api_server_with_its_children(receiver: OtlpReceiver, place: Path) -> None:
    """As it does at its end with several API servers: the observer process is not among them."""
    with writing(place, receiver.url) as writer:
        writer.do("request chatcmpl-a")
        writer.do("begin 1000")
        for child in below(writer.process.pid):
            # The parent of the observer process ends by itself.
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        writer.process.kill()
        receiver.wait_for(lambda: has(receiver, "chatcmpl-a"))
        (unfinished,) = receiver.wait_for(
            lambda: receiver.spans(lambda span: names.RESPONSE_ID not in span.attributes)
        )
    assert unfinished.attributes[names.ERROR_TYPE] == names.SERVER_ENDED
    assert unfinished.message == "vLLM's API server ended before it had answered."


def test_the_process_that_starts_the_api_servers_waits(receiver: OtlpReceiver) -> None:
    """It ends after the last spans are sent: with it, all processes of a container end."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        place = Path(starter.stdout.readline().strip())
        with writing(place, receiver.url) as writer:
            writer.do("request chatcmpl-a")
            writer.process.kill()
            starter.communicate("end")
        assert starter.returncode == 0
        assert has(receiver, "chatcmpl-a")
    eventually(lambda: not observers(place))


def test_children_inherit_nothing(receiver: OtlpReceiver, place: Path) -> None:
    """A process that vLLM starts has no end of the pipe, even where it inherits what it may."""
    with writing(place, receiver.url) as writer:
        assert writer.do("spawn") == "0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_all_of_a_service(
    receiver: OtlpReceiver, place: Path, number: signal.Signals
) -> None:
    """A signal that ends vLLM too does not end it before vLLM."""
    with writing(place, receiver.url) as writer:
        (observer,) = observers(place)
        # It ignores signals before it says that it is ready.
        writer.do("request chatcmpl-a")
        receiver.wait_for(lambda: has(receiver, "chatcmpl-a"))
        os.kill(observer, number)
        writer.do("request chatcmpl-b")
        receiver.wait_for(lambda: has(receiver, "chatcmpl-b"))
        assert observers(place) == [observer]


def test_memory(receiver: OtlpReceiver, place: Path) -> None:
    """It takes 40 MB at most."""
    with writing(place, receiver.url) as writer:
        (observer,) = observers(place)
        for number in range(100):
            writer.do(f"request chatcmpl-{number}")
        receiver.wait_for(lambda: has(receiver, "chatcmpl-99"))
        resident_pages = int(Path(f"/proc/{observer}/statm").read_text().split()[1])
        assert resident_pages * os.sysconf("SC_PAGE_SIZE") < 40_000_000


def test_a_thread_on_request(receiver: OtlpReceiver, place: Path) -> None:
    """Without a process of its own, a thread sends the same."""
    with writing(place, receiver.url, SIDELIGHT_VLLM_OBSERVER="thread") as writer:
        writer.do("request chatcmpl-a")
        writer.do("stop")
        writer.process.wait()
        assert has(receiver, "chatcmpl-a")
        assert observers(place) == []


def test_a_thread_of_the_process_that_starts_the_api_servers(receiver: OtlpReceiver) -> None:
    """Several API servers without a process of ours: what they had written outlives them."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "SIDELIGHT_VLLM_OBSERVER": "thread",
        "PYTHONPATH": str(TESTS),
    }
    with subprocess.Popen(
        [sys.executable, "-c", SERVING_STARTER], env={**os.environ, **variables},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        place = Path(starter.stdout.readline().strip())
        with (
            writing(place, receiver.url, **variables) as first,
            writing(place, receiver.url, **variables) as second,
        ):
            first.do("request chatcmpl-a")
            second.do("request chatcmpl-b")
            second.do("begin 1000")
            assert observers(place) == []
            for writer in (first, second):
                writer.process.kill()
            starter.communicate("end")
            assert starter.returncode == 0
            # Without waiting: with that process all of a container end.
            assert has(receiver, "chatcmpl-a", "chatcmpl-b")
            (unfinished,) = receiver.spans(lambda span: names.RESPONSE_ID not in span.attributes)
            assert unfinished.attributes[names.ERROR_TYPE] == names.SERVER_ENDED
            assert len({span.resource[names.SERVICE_INSTANCE_ID] for span in receiver.spans()}) == 1
            assert (first.log.read_text(), second.log.read_text()) == ("", "")
    assert not place.exists()


def test_the_process_that_starts_the_api_servers_is_killed(receiver: OtlpReceiver) -> None:
    """An API server that lives on does the work itself, and says so once."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "SIDELIGHT_VLLM_OBSERVER": "thread",
        "PYTHONPATH": str(TESTS),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", SERVING_STARTER], env={**os.environ, **variables},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as starter:  # fmt: skip
        assert starter.stdout is not None
        place = Path(starter.stdout.readline().strip())
        with writing(place, receiver.url, **variables) as writer:
            starter.kill()
            eventually(lambda: "no longer observes it" in writer.log.read_text())
            # It says so before its thread runs.
            receiver.wait_for(lambda: writer.do("request chatcmpl-a") and receiver.spans())
            assert writer.log.read_text().count("Sidelight: ") == 1
    shutil.rmtree(place)
