"""A pytest plugin for runs of the whole suite: its plan, its environments, its progress lines.

With `-n`, the first process distributes the tests, builds environments and writes to the
terminal; the others collect and run. Without, one process does it all, in the order of the
command line.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from support import waiting
from support.suite.builds import Builds
from support.suite.collecting import StaggeredCollection
from support.suite.plan import Plan, make_plan, ordered

_TELL_EVERY_SECONDS = 30.0
# Set in the process of a test that runs alone.
_ALONE = "SIDELIGHT_TEST_ALONE"


def pytest_configure(config: pytest.Config) -> None:
    """Take the part that this process has in the run."""
    heed_ctrl_c()
    keep_bytecode()
    ask_registries_again()
    repeat_examples(config)
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.pluginmanager.register(_Worker(Path(given["shared"]), given["workerid"]))
        number = int(given["workerid"].removeprefix("gw"))
        config.pluginmanager.register(StaggeredCollection(number / given["workercount"]))
    elif not config.option.collectonly:
        config.pluginmanager.register(_Leader(config))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave what is collected out of garbage collection: it stays until the end.

    Otherwise each full collection looks through all tests and all that they import.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what ends a shared server behind all that use it, in whatever order files are given."""
    items[:] = ordered(items)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test with the mark `alone` in a process of its own.

    A test that forks must not do so here: threads of gRPC, which an earlier test may have left,
    do not outlive it.
    """
    if _ALONE in os.environ or pyfuncitem.get_closest_marker("alone") is None:
        return None
    root = pyfuncitem.config.rootpath
    path = pyfuncitem.path.relative_to(root).as_posix()
    test = f"{path}::{pyfuncitem.nodeid.partition('::')[2]}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    env = {**os.environ, _ALONE: "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run([*command, test], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: two more than there are processors, as tests wait for 40 % of their time."""
    return len(os.sched_getaffinity(0)) + 2


def heed_ctrl_c() -> None:
    """Heed Ctrl-C also in the background.

    A shell starts a background job with SIGINT ignored, and children inherit that: tests that
    interrupt one would wait in vain.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_bytecode() -> None:
    """Keep the bytecode of what is imported, whatever the environment says.

    A run starts hundreds of Python processes. Without it each compiles all of its modules: a
    collector then starts in 0.6 instead of 0.45 s of CPU, vLLM takes some 10 s longer.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def ask_registries_again() -> None:
    """Let pip and npm wait out some minutes in which a registry does not answer."""
    for name, value in (
        ("PIP_RETRIES", "8"),
        ("PIP_DEFAULT_TIMEOUT", "60"),
        ("NPM_CONFIG_FETCH_RETRIES", "5"),
    ):
        os.environ.setdefault(name, value)


def repeat_examples(config: pytest.Config) -> None:
    """Let Hypothesis try the same examples in each run, however long one or its input takes.

    A run that fails can be repeated, and a busy machine is no fault. `make fuzz` looks for more.
    """
    if not config.getoption("--hypothesis-profile", None):
        is_repeatable = not os.environ.get("SIDELIGHT_FUZZ_INPUTS")
        settings.register_profile(
            "suite",
            deadline=None,
            derandomize=is_repeatable,
            suppress_health_check=[HealthCheck.too_slow],
        )
        settings.load_profile("suite")


class _Worker:
    """What a process does that runs tests for another."""

    def __init__(self, shared: Path, name: str) -> None:
        self._plan_file = shared / f"{name}.plan"
        waiting.note = shared / f"{name}.waiting"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        try:
            plan = make_plan(items)
        except pytest.UsageError as error:
            # The leader ends the run; from here it would look like a fault of pytest's.
            self._plan_file.with_suffix(".fault").write_text(str(error))
            return
        place = {test: n for n, unit in enumerate(plan.units) for test in unit.tests}
        items.sort(key=lambda item: place[item.nodeid])
        plan.write(self._plan_file)


class _Leader:
    """What the process does that was started by a person."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        # Shared with the other processes: plans, and what they are waiting for.
        self._shared = Path(tempfile.mkdtemp(prefix="sidelight-tests-"))
        self._builds = Builds(self._say, self._shared)
        self._scheduling: Any = None
        self._started: dict[str, float] = {}
        self._start = time.monotonic()
        self._terminal = -1
        self._over = threading.Event()
        self._telling = threading.Thread(target=self._tell, daemon=True)

    def pytest_sessionstart(self) -> None:
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            self._terminal = os.dup(1)
        waiting.note = self._shared / "main.waiting"
        self._telling.start()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without other processes."""
        self._builds.start(make_plan(session.items).environments)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Before another process is started."""
        node.workerinput["shared"] = str(self._shared)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from support.suite.scheduling import PlanScheduling

        self._scheduling = PlanScheduling(config, log, self._builds)
        return self._scheduling

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any) -> None:
        """All processes make the same plan. Raises `pytest.UsageError` if they cannot."""
        fault = self._shared / f"{node.gateway.id}.fault"
        if fault.exists():
            raise pytest.UsageError(fault.read_text())
        plan = Plan.read(self._shared / f"{node.gateway.id}.plan")
        self._scheduling.follow(plan)
        self._builds.start(plan.environments)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._started[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._started.pop(nodeid, None)

    def pytest_unconfigure(self) -> None:
        self._over.set()
        if self._telling.is_alive():
            self._telling.join()
        self._builds.stop()
        waiting.note = None
        if self._terminal >= 0:
            os.close(self._terminal)
        shutil.rmtree(self._shared, ignore_errors=True)

    def _say(self, line: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and self._config.option.verbose >= 0:
            passed = int(time.monotonic() - self._start)
            # Not by the reporter: while a test runs in this process, what it writes is captured.
            os.write(self._terminal, f"\n[{passed // 60}:{passed % 60:02}] {line}\n".encode())

    def _tell(self) -> None:
        """Say what takes long, until the run is over."""
        while not self._over.wait(_TELL_EVERY_SECONDS):
            for line in self._builds.under_way():
                self._say(line)
            reasons = self._reasons()
            for test, start in list(self._started.items()):
                seconds = time.monotonic() - start
                if seconds > _TELL_EVERY_SECONDS:
                    what = f"waiting for {reasons[test]}" if test in reasons else "running"
                    self._say(f"{test}: {what}, {seconds:.0f} s so far")

    def _reasons(self) -> dict[str, str]:
        """What tests are waiting for, by test."""
        reasons: dict[str, str] = {}
        for path in self._shared.glob("*.waiting"):
            test, _, what = path.read_text().partition("\n")
            if what:
                # pytest adds the phase: "test (call)".
                reasons[test.rpartition(" ")[0]] = what
        return reasons
