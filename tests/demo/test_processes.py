"""Child processes: ready when they say so, ended in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sidelight.demo.processes import (
    ProcessError,
    Processes,
    free_ports,
    is_free,
    tail,
)
from support.ports import free_port
from support.waiting import eventually

SERVER = (
    "import http.server as h; "
    "h.ThreadingHTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
)
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(600)"
)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for a condition."""
    eventually(holds, seconds=seconds)


def python(code: str) -> list[str | Path]:
    """A command that runs a piece of Python."""
    return [sys.executable, "-c", code]


def test_ends_all_in_reverse_order(tmp_path: Path) -> None:
    """At the end of the block the last process started is the first to go."""
    order = tmp_path / "order"
    code = textwrap.dedent(
        """
        import signal, sys, time
        def end(*_):
            with open({order!r}, "a") as file: file.write({name!r})
            sys.exit()
        signal.signal(signal.SIGTERM, end)
        print("up", flush=True)
        time.sleep(600)
        """
    )
    with Processes(tmp_path) as processes:
        started = [
            processes.start(name, python(code.format(order=str(order), name=name)))
            for name in ("a", "b", "c")
        ]
        wait_until(lambda: all(each.log_tail() == "up" for each in started))

    assert order.read_text() == "cba"
    assert [each.exit_code for each in started] == [0, 0, 0]


def test_kills_what_ignores_the_polite_signal(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed once its grace is over."""
    with Processes(tmp_path) as processes:
        stubborn = processes.start("stubborn", python(STUBBORN))
        wait_until(lambda: stubborn.log_tail() == "up")
        stubborn.stop(grace_seconds=0.2)

    assert stubborn.exit_code == -signal.SIGKILL


def test_ends_grandchildren_too(tmp_path: Path) -> None:
    """What a child started in its group does not survive it, even if it ignores SIGTERM."""
    code = textwrap.dedent(
        f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
        time.sleep(600)
        """
    )
    with Processes(tmp_path) as processes:
        parent = processes.start("parent", python(code))
        wait_until(lambda: parent.log_tail().isdigit())
        grandchild = int(parent.log_tail())
        assert alive(grandchild)

    wait_until(lambda: not alive(grandchild))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_the_program(tmp_path: Path, end: signal.Signals) -> None:
    """However the program ends, kill -9 included, its children end."""
    code = textwrap.dedent(
        f"""
        import signal, time
        from pathlib import Path
        from sidelight.demo.processes import Processes
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with Processes(Path({str(tmp_path)!r})) as processes:
            child = processes.start("child", [{sys.executable!r}, "-c", {SLEEPER!r}])
            while child.log_tail() != "up":
                time.sleep(0.02)
            print(child.pid, flush=True)
            time.sleep(600)
        """
    )
    program = subprocess.Popen(
        python(code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert program.stdout
        child = int(program.stdout.readline())
        assert alive(child)
        program.send_signal(end)
        program.wait(120)
        program.stdout.close()
    finally:
        program.kill()
    wait_until(lambda: not alive(child))


def test_ready_when_it_answers(tmp_path: Path) -> None:
    """Waiting ends once the URL answers."""
    port = free_port()
    with Processes(tmp_path) as processes:
        server = processes.start("server", python(SERVER.format(port=port)), directory=tmp_path)
        server.wait_for_http(f"http://127.0.0.1:{port}/", 120)
        assert not is_free(port)


def test_an_early_end_is_told_with_the_log(tmp_path: Path) -> None:
    """A process that dies while it is waited for is named with its code and its last words."""
    with Processes(tmp_path) as processes:
        server = processes.start("server", python("print('no such file'); raise SystemExit(3)"))
        with pytest.raises(ProcessError, match=r"(?s)server exited with code 3.*no such file"):
            server.wait_for_http("http://127.0.0.1:9/", 120)


def test_a_late_start_is_told_with_the_log(tmp_path: Path) -> None:
    """A process that is not ready in time is named with what the URL answered."""
    port = free_port()
    with Processes(tmp_path) as processes:
        server = processes.start("server", python(SERVER.format(port=port)), directory=tmp_path)
        server.wait_for_http(f"http://127.0.0.1:{port}/", 120)

        def told() -> str:
            with pytest.raises(ProcessError, match="not ready after") as late:
                server.wait_for_http(f"http://127.0.0.1:{port}/none", 0.2)
            return str(late.value)

        # On a busy machine the last attempt may have had no answer.
        wait_until(lambda: "it answers 404" in told())


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    """A command that does not exist ends at once and says so in its log."""
    with Processes(tmp_path) as processes:
        missing = processes.start("missing", ["sidelight-no-such-program"])
        assert missing.wait(120) == 1
    assert "cannot run sidelight-no-such-program: No such file" in missing.log_tail()


def test_starts_nothing_once_ended(tmp_path: Path) -> None:
    """After the end no process is started, so none can be left behind by a slower thread."""
    processes = Processes(tmp_path)
    processes.close()

    with pytest.raises(ProcessError, match="the program is exiting"):
        processes.start("late", python(SLEEPER))


def test_free_ports_differ() -> None:
    """Ports asked for together are all different and can be taken."""
    ports = free_ports(20)

    assert len(set(ports)) == 20
    # Other processes are given ports, too, from the same range.
    assert sum(is_free(port) for port in ports) > 10


def test_the_tail_of_a_long_log_is_short(tmp_path: Path) -> None:
    """Only the last lines are returned; a file that is not there has none."""
    log = tmp_path / "log"
    log.write_text("".join(f"{number}\n" for number in range(100_000)))

    assert tail(log, 2) == "99998\n99999"
    assert tail(tmp_path / "none") == ""


def test_the_child_has_only_the_environment_it_is_given(tmp_path: Path) -> None:
    """With `environment` nothing of ours leaks in."""
    os.environ["SIDELIGHT_TEST_LEAK"] = "1"
    try:
        with Processes(tmp_path) as processes:
            code = "import os; print(sorted(set(os.environ) & {'SIDELIGHT_TEST_LEAK', 'GIVEN'}))"
            child = processes.start("child", python(code), environment={"GIVEN": "1"})
            child.wait(120)
    finally:
        del os.environ["SIDELIGHT_TEST_LEAK"]
    assert child.log_tail() == "['GIVEN']"
