"""Signals for an event loop, in a process of its own: its handlers are the whole process's."""

from __future__ import annotations

import signal
import subprocess
import sys

# SIGUSR1 wakes the loop, which has Python run the handlers: SIGTERM comes while it does.
PROGRAM = """
import asyncio, os, signal, threading, uvloop
from sidelight.base.signals import on_signal

async def main():
    caught = asyncio.Queue()
    on_signal(signal.SIGTERM, caught.put_nowait)
    signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
    # From a thread, once the loop waits for something to do.
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    print((await caught.get()).name)
    # By then the loop has read what it was sent of both.
    on_signal(signal.SIGUSR2, caught.put_nowait)
    os.kill(os.getpid(), signal.SIGUSR2)
    print((await caught.get()).name, flush=True)

uvloop.run(main())
"""


def run(program: str) -> tuple[list[str], int]:
    """The names of the signals that the loop was told of, and the exit code."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split(), done.returncode


def test_one_right_after_another_counts_once() -> None:
    """uvloop would tell of it twice."""
    assert run(PROGRAM) == (["SIGTERM", "SIGUSR2"], 0)


def test_after_the_end_of_the_loop_it_ends_the_process() -> None:
    """Otherwise one that hangs then would have to be killed."""
    told, code = run(f"{PROGRAM}\nos.kill(os.getpid(), signal.SIGTERM)")
    assert told == ["SIGTERM", "SIGUSR2"]
    assert code == -signal.SIGTERM
