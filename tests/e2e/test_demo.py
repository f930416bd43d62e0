"""The demo as a user runs it: everything real, everything found, nothing left behind."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from sidelight.demo.phoenix_query import PhoenixReader
from sidelight.demo.vllm_server import MODEL_NAME
from support.langfuse import LangfuseStandIn
from support.langfuse_view import cost_by
from support.waiting import eventually

pytestmark = [
    pytest.mark.real("vllm", "phoenix", "embedder", "prometheus", "chromium"),
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]

# Enough for a first run, which installs vLLM and Phoenix, on a busy machine.
PATIENCE_SECONDS = 900.0


def descendants(pid: int) -> set[int]:
    """All running processes that a process has started, directly or not."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid}


def running(pids: set[int]) -> dict[int, str]:
    """Those of the processes that still run, with their commands."""
    commands = {}
    for pid in pids:
        # By itself: who looks through a tree misses a process whose parent ends at that moment.
        with suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                commands[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return commands


@dataclass
class Demo:
    """A demo under way."""

    process: subprocess.Popen[bytes]
    output_path: Path
    directory: Path

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    def wait_for(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the demo has printed something."""

        def is_printed() -> bool:
            has_ended = self.process.poll() is not None
            if text in self.output:
                return True
            assert not has_ended, f"ended without {text!r}:\n{self.output}"
            return False

        eventually(
            is_printed, f"the demo to print {text!r}", seconds=seconds, state=lambda: self.output
        )

    def link(self, what: str) -> str:
        """An address that the demo printed at its end."""
        found = re.search(rf"^{what} +(\S+)$", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def end(self, how: signal.Signals) -> dict[int, str]:
        """Send a signal, wait for the end, and return the processes that are left."""
        started = descendants(self.process.pid)
        assert started
        self.process.send_signal(how)
        self.process.wait(120)
        with suppress(AssertionError):
            eventually(lambda: not running(started), "the demo's processes to end")
        return running(started)


def start(directory: Path, *options: str) -> Demo:
    """Run `sidelight demo` in `directory/demo`."""
    directory.mkdir(parents=True, exist_ok=True)
    output_path = directory / "output.txt"
    command = [sys.executable, "-m", "sidelight.collector", "demo"]
    command += ["--directory", str(directory / "demo"), *options]
    with output_path.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    return Demo(process, output_path, directory / "demo")


def run(directory: Path, *options: str) -> Demo:
    """Run `sidelight demo` to its end."""
    demo = start(directory, *options)
    try:
        demo.process.wait(PATIENCE_SECONDS)
    finally:
        demo.process.kill()
    return demo


@pytest.fixture(scope="module")
def langfuse() -> Iterator[LangfuseStandIn]:
    """A Langfuse of the user's that knows the model, and so prices its tokens."""
    with LangfuseStandIn() as server, pytest.MonkeyPatch.context() as patch:
        server.prices = {MODEL_NAME: 0.5}
        patch.setenv("LANGFUSE_PUBLIC_KEY", server.public_key)
        patch.setenv("LANGFUSE_SECRET_KEY", server.secret_key)
        yield server


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, langfuse: LangfuseStandIn) -> Iterator[Demo]:
    """A demo that went well and goes on serving; its end leaves nothing behind."""
    demo = start(tmp_path_factory.mktemp("kept"), "--keep", "--langfuse", langfuse.url)
    try:
        demo.wait_for("Serving until Ctrl-C.")
        yield demo
        assert demo.end(signal.SIGINT) == {}
        assert demo.process.returncode == 0
    finally:
        demo.process.kill()


def test_everything_is_found(kept: Demo) -> None:
    """Traces, token counts, engine figures, exemplars and every dashboard query are there."""
    assert "Everything was found." in kept.output
    for what in (
        "CHAIN → EMBEDDING, RETRIEVER, LLM",
        "documents with scores",
        "LLM tokens as the client saw them",
        "LLM → server span → queue, prefill, decode",
        "KV-cache usage",
        "exemplars with a trace",
        "queries of sidelight-overview.json with data",
        "tokens counted once, as the client saw them",
        "the session on every span",
        "one environment",
    ):
        assert re.search(rf"✓ │ *\w* *│ {re.escape(what)} ", kept.output), kept.output


def test_langfuse_prices_the_calls_alone(kept: Demo, langfuse: LangfuseStandIn) -> None:
    """A model that Langfuse knows costs what the client's calls used, in every sum."""
    assert kept.output
    rows = [row for row in langfuse.rows if row.trace_name]
    by_type = cost_by(rows, "type")
    assert {kind for kind, cost in by_type.items() if cost} == {"GENERATION"}
    for attribute in ("session", "user", "trace_name"):
        assert cost_by(rows, attribute).get("", 0) == 0
    assert cost_by(rows, "environment") == {"demo": sum(by_type.values())}


def test_the_bursts_queue_and_preempt(kept: Demo) -> None:
    """The traffic fills the KV cache, so that some requests wait and some are preempted."""
    assert re.search(r"KV-cache usage +│ at most (9\d|100)%", kept.output), kept.output
    assert re.search(r"preemptions +│ [1-9]", kept.output), kept.output


def test_the_trace_link_opens(kept: Demo) -> None:
    """In a browser the link leads to Phoenix's page of the trace, down to the engine's phases."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(kept.link("This trace"))
        tree = page.get_by_test_id("trace-tree")
        tree.wait_for(timeout=60_000)
        for name in ("answer question", "search passages", "queue", "prefill", "decode"):
            tree.get_by_text(name, exact=True).wait_for(timeout=30_000)
        browser.close()


def test_only_loopback_is_bound(kept: Demo) -> None:
    """No process of the demo listens on an address that others can reach."""
    ours = descendants(kept.process.pid) | {kept.process.pid}
    sockets = {
        inode
        for pid in ours
        for descriptor in Path(f"/proc/{pid}/fd").glob("*")
        if (inode := socket_inode(descriptor))
    }
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in sockets
    ]

    assert len(listening) >= 5
    # 127.0.0.1 as the kernel writes it, by itself and inside an IPv6 address.
    loopback = ("0100007F", "0000000000000000FFFF00000100007F")
    assert [each for each in listening if each.split(":")[0] not in loopback] == []


def socket_inode(descriptor: Path) -> str | None:
    """The inode of a socket that a process has open."""
    try:
        target = str(descriptor.readlink())
    except OSError:
        return None
    return target[8:-1] if target.startswith("socket:[") else None


def test_servers_of_ones_own_are_used(kept: Demo, tmp_path: Path) -> None:
    """--vllm and --phoenix are used; what vLLM does not send to this collector is told."""
    url, phoenix = kept.link("vLLM"), kept.link("Phoenix")

    own = run(tmp_path, "--vllm", url, "--phoenix", phoenix)

    assert own.process.returncode == 0, own.output
    assert f"Your vLLM  sidelight/tiny-qwen3 at {url}" in own.output
    assert re.search(r"✓ │ *\w* *│ LLM tokens as the client saw them ", own.output), own.output
    # Its spans go to the other demo's collector, and by that to the same Phoenix. The demo does not
    # wait for them, as it cannot know that this vLLM is instrumented.
    told = r"[✓–] │ *\w* *│ LLM → server span → queue, prefill, decode "
    assert re.search(told, own.output), own.output
    reader, trace_id = PhoenixReader(phoenix), own.link("This trace").rpartition("/")[2]

    def is_joined() -> bool:
        return {"queue", "prefill", "decode"} <= {span.name for span in reader.trace(trace_id)}

    eventually(is_joined, "the spans of vLLM in Phoenix", seconds=120)
    assert re.search(r"– │ *\w* *│ batch size per engine step ", own.output), own.output
    assert re.search(r"OTEL_EXPORTER_OTLP_ENDPOINT=http://127\.0\.0\.1:\d+", own.output)
    for what in ("CHAIN → EMBEDDING, RETRIEVER, LLM", "documents with scores"):
        assert re.search(rf"✓ │ *\w* *│ {re.escape(what)} ", own.output), own.output
    assert own.link("This trace").startswith(phoenix.rstrip("/"))
    for started in ("vllm.log", "phoenix.log"):
        assert not (own.directory / "logs" / started).exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_early_end_leaves_nothing_behind(tmp_path: Path, how: signal.Signals) -> None:
    """Ended while vLLM starts, by whatever signal, the demo takes all its processes along."""
    demo = start(tmp_path)
    log = demo.directory / "logs" / "vllm.log"
    try:

        def vllm_starts() -> bool:
            assert demo.process.poll() is None, demo.output
            return log.exists()

        eventually(vllm_starts, seconds=PATIENCE_SECONDS, state=lambda: demo.output)
        left = demo.end(how)
    finally:
        demo.process.kill()

    assert left == {}
    assert demo.process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert "Traceback" not in demo.output


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A directory with other things in it is not emptied; the demo says so and exits 2."""
    (tmp_path / "demo").mkdir()
    precious = tmp_path / "demo" / "thesis.txt"
    precious.write_text("years of work")

    demo = run(tmp_path)

    assert demo.process.returncode == 2
    assert (
        "is not empty and not a folder of the demo: set --directory to another folder"
        in " ".join(demo.output.split())
    )
    assert precious.read_text() == "years of work"


def test_an_absent_server_is_told_in_one_sentence(tmp_path: Path) -> None:
    """A --vllm where nothing answers exits 2 and says what the option takes."""
    demo = run(tmp_path, "--vllm", "http://127.0.0.1:9")

    assert demo.process.returncode == 2
    assert "no model at http://127.0.0.1:9/v1/models" in demo.output
    assert "--vllm takes the base URL" in " ".join(demo.output.split())
    assert "Traceback" not in demo.output
