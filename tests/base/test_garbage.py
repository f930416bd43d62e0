"""When a process looks for garbage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.workers.plan import to_json
from support.collector import environment

_PROGRAM = """
import gc, runpy, sys
done = []
gc.callbacks.append(lambda phase, info: phase == "stop" and done.append(info["generation"]))
sys.argv = ["", {arguments}]
try:
    runpy.run_module("{module}", run_name="__main__")
finally:
    print(len(done), file=sys.stderr)
"""


def _result(code: str, cwd: Path, text: str = "") -> tuple[str, int]:
    """The standard output of a fresh Python, and the number in the last line of its errors."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, int(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("sidelight.collector", '"--help"'),
        ("sidelight.collector", '"config", "check"'),
        ("sidelight.collector.app.workers", '"plan"'),
    ],
)
def test_a_program_hardly_looks_for_it(tmp_path: Path, module: str, arguments: str) -> None:
    """CPython would up to 150 times, in objects that stay; 7 are before the program's own code."""
    # Which the plan alone reads.
    running = json.dumps(to_json(Config(destinations=()), ()))
    code = _PROGRAM.format(module=module, arguments=arguments)
    output, collections = _result(code, tmp_path, running)
    assert output
    assert collections <= 10


def test_an_exit_looks_through_nothing(tmp_path: Path) -> None:
    """Whatever the program has made by then."""
    code = """
import gc, sys
from sidelight.base.garbage import collect_rarely
class Cycle:
    def __init__(self): self.me = self
    def __del__(self): print("collected")
collect_rarely()
cycle = Cycle()
del cycle
print(0, file=sys.stderr)
"""
    assert _result(code, tmp_path) == ("", 0)


def test_a_server_keeps_what_exists_and_collects_what_comes(tmp_path: Path) -> None:
    """A cycle of later is found without a look at what was there before."""
    code = """
import gc, sys
from sidelight.base.garbage import collect_rarely, keep_what_exists
collect_rarely()
objects = [[] for _ in range(1000)]
keep_what_exists()
assert gc.get_freeze_count() > 1000
assert not any(item is objects for item in gc.get_objects())
class Cycle:
    def __init__(self): self.me = self
    def __del__(self): print("collected")
Cycle()
later = [[] for _ in range(20_000)]
print(0, file=sys.stderr)
"""
    assert _result(code, tmp_path)[0] == "collected\n"
