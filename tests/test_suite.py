"""How a run of all tests is divided: tried on small suites of their own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidelight.demo import environments
from sidelight.demo.environments import EnvironmentBuildError
from support.paths import TESTS
from support.ports import free_port
from support.suite import builds as builds_module
from support.suite.builds import Builds
from support.suite.plan import Plan, Unit
from support.waiting import eventually

MARKS = """\
[pytest]
markers =
    real(*names): real
    slow: slow
    alone: alone
    last(fixture): last
"""
# A test module that writes which process ran which test.
NOTED = """
import os, pytest

@pytest.fixture(autouse=True)
def noted(request):
    with open({ran!r}, "a") as file:
        print(request.node.name, os.getpid(), file=file)
"""


def run(folder: Path, *options: str, **files: str) -> tuple[str, list[tuple[str, str]]]:
    """Run the files as a suite: the output, and the tests in their order, each with its process."""
    ran = folder / "ran"
    (folder / "pytest.ini").write_text(MARKS)
    imports = "from impatient import *\n" if "impatient" in files else ""
    (folder / "conftest.py").write_text(imports + NOTED.format(ran=str(ran)))
    for name, text in files.items():
        (folder / f"{name}.py").write_text(f"import os, pytest\n{textwrap.dedent(text)}")
    plugins = ("-p", "support.suite.plugin", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *plugins]
    output = folder / "output"
    with output.open("w") as written:
        subprocess.run(
            [*command, *options],
            cwd=folder,
            # Without the options of this run.
            env={**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": ""},
            stdout=written,
            stderr=written,
        )
    lines = ran.read_text().splitlines() if ran.exists() else []
    return output.read_text(), [(name, pid) for name, pid in map(str.split, lines)]


SPREAD = ("-n", "2", "--dist", "loadfile")


def test_what_shares_a_server_runs_in_one_process(tmp_path: Path) -> None:
    """Wherever it is, so that the server is started once; a file stays together as well."""
    (tmp_path / "server.py").write_text(
        "import pytest\n@pytest.fixture(scope='session')\ndef guarded_phoenix(): ...\n"
    )
    sharing = """
        from server import guarded_phoenix
        @pytest.mark.real("prometheus", "phoenix")
        def test_{name}(guarded_phoenix): ...
        def test_{name}_alone(): ...
        def test_{name}_as_well(): ...
    """
    _, ran = run(
        tmp_path,
        *SPREAD,
        test_a=sharing.format(name="a"),
        test_b=sharing.format(name="b"),
    )
    process = dict(ran)
    assert len(process) == 6
    assert process["test_a"] == process["test_b"]
    for name in ("a", "b"):
        assert process[f"test_{name}_alone"] == process[f"test_{name}_as_well"]


@pytest.mark.parametrize("options", [(), SPREAD], ids=["one process", "several"])
@pytest.mark.parametrize("given", [("test_a", "test_b"), ("test_b", "test_a")])
def test_what_ends_a_server_comes_last(
    tmp_path: Path, options: tuple[str, ...], given: tuple[str, str]
) -> None:
    """Whatever the files are called, and in whatever order they are given."""
    (tmp_path / "server.py").write_text(
        "import pytest\n@pytest.fixture(scope='session')\ndef shared_vllm(): ...\n"
    )
    marked = 'pytestmark = [pytest.mark.real("vllm"), {}]\nfrom server import shared_vllm\n'
    _, ran = run(
        tmp_path,
        *options,
        *(f"{name}.py" for name in given),
        test_a=marked.format("pytest.mark.last('shared_vllm')")
        + "def test_process(shared_vllm): ...\ndef test_end(shared_vllm): ...",
        test_b=marked.format("") + "def test_first(shared_vllm): ...\ndef test_other(): ...",
    )
    assert [name for name, _ in ran if name != "test_other"] == [
        "test_first",
        "test_process",
        "test_end",
    ]


def test_long_tests_come_first_and_are_shared_out(tmp_path: Path) -> None:
    """Slow tests that share nothing keep all processes busy, before many short ones."""
    slow = """
        import time
        @pytest.mark.slow
        @pytest.mark.parametrize("number", range(6))
        def test_slow(number): time.sleep(0.2)
    """
    _, ran = run(tmp_path, *SPREAD, test_a="def test_1(): ...\ndef test_2(): ...", test_z=slow)
    assert len({pid for name, pid in ran if "slow" in name}) == 2
    assert ran[0][0].startswith("test_slow")
    # In the other process a slow test may still be running.
    last = dict(ran)["test_2"]
    assert [name for name, pid in ran if pid == last][-2:] == ["test_1", "test_2"]


def test_processes_begin_to_collect_in_different_places(tmp_path: Path) -> None:
    """What one has compiled is there for the others. xdist refuses tests in different orders."""
    imported = tmp_path / "imported"
    module = f"""
        print(os.getpid(), __name__, file=open({str(imported)!r}, "a"))
        def test_1(): ...
    """
    _, ran = run(tmp_path, *SPREAD, test_a=module, test_b=module, test_c=module, test_d=module)
    assert len(ran) == 4
    orders: dict[str, list[str]] = {}
    for pid, name in map(str.split, imported.read_text().splitlines()):
        orders.setdefault(pid, []).append(name[-1])
    assert sorted(map("".join, orders.values())) == ["abcd", "cdab"]


class Node:
    """Another process, as far as a scheduler sees it."""

    shutting_down = False
    gateway = SimpleNamespace(id="gw")

    def __init__(self, collection: list[str]) -> None:
        self._collection = collection
        self.units: list[str] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.units += [self._collection[index] for index in indices]

    def shutdown(self) -> None:
        """Nothing is left to do."""


class Building:
    """Builds of which all but one have ended."""

    def settled(self, names: Sequence[str]) -> bool:
        return "slow to build" not in names


def test_what_may_take_longest_comes_first(tmp_path: Path) -> None:
    """Of long tests those that are given the most time: none of them is left for the end."""
    long = """
        @pytest.mark.slow
        @pytest.mark.timeout({seconds})
        def test_{seconds}(): ...
    """
    _, ran = run(
        tmp_path, "-n", "1", "--dist", "loadfile",
        test_a=long.format(seconds=300), test_b=long.format(seconds=900),
        test_c="def test_1(): ...\ndef test_2(): ...",
    )  # fmt: skip
    assert [name for name, _ in ran] == ["test_900", "test_300", "test_1", "test_2"]


def test_vllm_runs_in_one_process_at_a_time() -> None:
    """It takes all processors, so that two would only wait for each other; and a unit whose
    environment is still being built is left for later.
    """
    scheduling = pytest.importorskip("support.suite.scheduling")
    needs = {"v1": ("vllm",), "v2": ("vllm",), "x": ("slow to build",)} | dict.fromkeys("abcd", ())
    plan = Plan(tuple(Unit(name, given, (name,)) for name, given in needs.items()))
    config = SimpleNamespace(option=SimpleNamespace(), getvalue=lambda _: ["2*popen"])
    scheduler = scheduling.PlanScheduling(config, None, Building())
    scheduler.follow(plan)
    one, two = nodes = [Node(list(needs)) for _ in range(2)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, list(needs))
    scheduler.schedule()

    assert one.units == ["v1", "v2"]
    assert two.units == ["a", "b"]
    for name in "ab":
        scheduler.mark_test_complete(two, list(needs).index(name))
    assert two.units == ["a", "b", "c", "d"]


@pytest.mark.parametrize("options", [(), SPREAD], ids=["one process", "several"])
@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("@pytest.mark.real\ndef test_it(): ...", "the mark `real` names no server"),
        (
            "@pytest.fixture\ndef guarded_phoenix(): ...\ndef test_it(guarded_phoenix): ...",
            'not marked real("phoenix")',
        ),
    ],
)
def test_a_test_says_what_it_needs(
    tmp_path: Path, test: str, said: str, options: tuple[str, ...]
) -> None:
    """Otherwise its environment would not be built in time."""
    output, ran = run(tmp_path, *options, test_it=test)
    assert said in output
    assert ran == []


def test_a_test_that_forks_runs_alone(tmp_path: Path) -> None:
    """In another process than those before it; a failure there is one."""
    test = """
        def test_first(): ...
        @pytest.mark.alone
        def test_alone(): ...
        @pytest.mark.alone
        def test_failing(): assert "green" == "red"
    """
    output, ran = run(tmp_path, test_it=test)
    processes = [pid for name, pid in ran if name == "test_alone"]
    # Its fixtures are set up in both.
    assert len(set(processes)) == 2
    assert dict(ran)["test_first"] == processes[0]
    assert "green" in output
    assert "1 failed, 2 passed" in output


def test_by_default_there_are_two_processes_more_than_processors(tmp_path: Path) -> None:
    """While two wait for servers, others have the processors."""
    wanted = len(os.sched_getaffinity(0)) + 2
    output, _ = run(tmp_path, "-n", "auto", "--dist", "loadfile", test_it="def test_it(): ...")
    assert f"created: {wanted}/{wanted} workers" in output


def test_bytecode_is_kept_for_the_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the environment forbids it: hundreds of processes would compile all they need."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "imported.py").write_text("")
    test = """
        import subprocess, sys
        def test_child(): subprocess.run([sys.executable, "-c", "import imported"], check=True)
    """
    run(tmp_path, test_a=test)
    assert list((tmp_path / "__pycache__").glob("imported.*.pyc"))


def test_hypothesis_tries_the_same_examples_in_each_run(tmp_path: Path) -> None:
    """A failure can be repeated, and no example is too slow."""
    test = """
        from hypothesis import HealthCheck, given, settings, strategies as st
        @settings(max_examples=5)
        @given(st.binary(min_size=4))
        def test_it(data):
            assert settings().deadline is None
            assert HealthCheck.too_slow in settings().suppress_health_check
            print("tried", data.hex())
    """
    tried = [re.findall("tried (.*)", run(tmp_path, "-s", test_a=test)[0]) for _ in range(2)]
    assert tried[0] == tried[1]
    assert len(tried[0]) == 5


def test_ctrl_c_works_in_the_background() -> None:
    """A shell starts background jobs with Ctrl-C ignored; tests that interrupt still do."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "from support.suite import plugin; plugin.heed_ctrl_c(); "
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(TESTS)}, check=True
    )


def test_what_waits_in_vain_says_for_what() -> None:
    """The failure has the words or the code, the last value, and the state."""
    with pytest.raises(
        AssertionError, match=r"waited 0 s for a bus; last: \[\]; the street is empty"
    ):
        eventually(list, "a bus", seconds=0, state=lambda: "the street is empty")
    with pytest.raises(AssertionError, match=re.escape("for eventually(lambda: 1 > 2")):
        eventually(lambda: 1 > 2, seconds=0)


def test_what_takes_long_is_said(tmp_path: Path) -> None:
    """Which test, for how long, and what it waits for."""
    impatient = """
        from support import waiting
        from support.suite import plugin
        plugin._TELL_EVERY_SECONDS = 0.3
        waiting._WORTH_TELLING_SECONDS = 0.0
    """
    # Each waits until its line is there, however late a busy machine writes it.
    slow = """
        import time
        from pathlib import Path
        from support.waiting import eventually, waiting_for
        def is_said(name):
            return f"test_{name}: waiting for the {name}, " in Path("output").read_text()
        def test_bus():
            eventually(lambda: is_said("bus"), "the bus")
        def test_train():
            end = time.monotonic() + 120
            with waiting_for("the train"):
                while not is_said("train") and time.monotonic() < end:
                    time.sleep(0.05)
    """
    for options in ((), SPREAD):
        output, _ = run(tmp_path, *options, impatient=impatient, test_it=slow)
        for name in ("bus", "train"):
            assert f" test_it.py::test_{name}: waiting for the {name}, " in output


class Heard:
    """What builds say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.lines: list[str] = []
        self.may_end = threading.Event()
        self.builds = Builds(self.lines.append, folder)
        monkeypatch.setattr(builds_module, "definition", lambda name: name)
        monkeypatch.setattr(environments, "ensure", self._ensure)

    def _ensure(self, name: str, *, progress: Callable[[str], None], **_: object) -> None:
        if name == "there":
            return
        progress("making the environment")
        if name == "bad":
            raise EnvironmentBuildError("no such package\nand more")
        assert self.may_end.wait(60)


def test_builds_are_said_and_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the machine has takes no line; a build that fails is over as well."""
    heard = Heard(monkeypatch, tmp_path)
    heard.builds.start(["there", "bad", "new"])
    try:
        eventually(lambda: heard.builds.settled(["there", "bad"]))
        eventually(lambda: heard.builds.under_way())
        assert heard.builds.under_way() == ["building the new environment: making the environment"]
        assert not heard.builds.settled(["new"])
        heard.may_end.set()
        eventually(lambda: heard.builds.settled(["new"]))
    finally:
        heard.may_end.set()
        heard.builds.stop()
    begun = "environment, once on this machine: making the environment …"
    # How long it took depends on the machine.
    assert sorted(re.sub(r"in \d+ s", "in … s", line) for line in heard.lines) == [
        f"building the bad {begun}",
        f"building the new {begun}",
        "built the new environment in … s",
        "the bad environment cannot be built: no such package",
    ]


def test_no_two_processes_are_given_one_port() -> None:
    """Nor does the kernel give one to a process that asks for any."""
    program = "from support.ports import free_port; print([free_port() for _ in range(50)])"
    ours = {free_port() for _ in range(50)}
    with subprocess.Popen(
        [sys.executable, "-c", program + "; input()"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        theirs = set(map(int, re.findall(r"\d+", other.stdout.readline())))
        other.communicate("\n")
    assert len(ours) == len(theirs) == 50
    assert not ours & theirs
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] > max(ours)
