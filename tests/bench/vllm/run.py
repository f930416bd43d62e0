"""What observing costs a real vLLM: the CPU time of its processes with and without the capture.

`python -m bench.vllm.run [--pairs N] [--observer thread] [--output build/bench/vllm.json]`. With
`--observer thread` a thread of the API server does the observer process's work, as where no process
may be started. One server does it all: the
capture is switched `off`, `on` (no content) and `full` in turn, so that a busy moment of the
machine, and a server that happens to be slow, meet all alike. There is no GPU here: the model is
tiny and runs on the CPU, which makes requests cheap and the share of the capture large.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from bench.report import Figure, figure, machine, write
from bench.vllm import calls, in_thread, load, observing, start_up
from bench.vllm.cpu import thread_seconds
from bench.vllm.switch import FOLDER
from sidelight.instrumentation.settings import VLLM_OBSERVER
from support.otlp_receiver import OtlpReceiver
from support.paths import TESTS
from support.process_tree import below, observers_below
from support.vllm_server import running_vllm
from support.waiting import eventually

MODES = ("off", "on", "full")
Seconds = dict[str, float]


class Measured:
    """CPU time of the processes of one server, by mode.

    `threads` is a file with the ids of Sidelight's threads in the API server.
    """

    def __init__(self, processes: dict[str, int], threads: Path) -> None:
        self._processes = processes
        self._threads = threads
        self.by_process: dict[tuple[str, str], list[float]] = {}
        self.by_thread: dict[tuple[str, str], list[float]] = {}

    def measure(self, mode: str, requests: int, work: Callable[[], None]) -> None:
        """Note the µs of each process and of the API server's threads for each request."""
        before = {name: thread_seconds(pid) for name, pid in self._processes.items()}
        work()
        # What was captured is processed half a second later.
        time.sleep(1.5)
        for name, pid in self._processes.items():
            spent = _spent(before[name], thread_seconds(pid))
            micros = 1e6 * sum(spent.values()) / requests
            self.by_process.setdefault((name, mode), []).append(micros)
            if name == "api_server":
                own = self._threads.read_text().split()
                for thread, seconds in spent.items():
                    id_ = thread.partition(" ")[0]
                    kind = "event_loop" if id_ == str(pid) else "other_threads"
                    kind = "sidelight_threads" if id_ in own else kind
                    row = self.by_thread.setdefault((kind, mode), [])
                    if len(row) < len(self.by_process[name, mode]):
                        row.append(0.0)
                    row[-1] += 1e6 * seconds / requests


def _spent(before: Seconds, after: Seconds) -> Seconds:
    return {thread: after[thread] - before.get(thread, 0.0) for thread in after}


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--requests", type=int, default=160)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--observer", choices=("process", "thread"), default="process")
    parser.add_argument("--output", type=Path, default=Path("build/bench/vllm.json"))
    options = parser.parse_args()
    about = {**machine(), "gpu": None, "model": "tiny, on the CPU", "tokens": load.TOKENS}
    about["observer"] = options.observer
    if options.observer == "thread":
        figures = in_thread.figures()
    else:
        figures = [*calls.figures(), *observing.figures(), *start_up.figures()]
    with tempfile.TemporaryDirectory() as folder, OtlpReceiver() as receiver:
        figures += _server_figures(Path(folder), receiver, options)
    figures += _added_up(figures, options.concurrency)
    write(options.output, figures, about)
    for each in figures:
        spread = f"({each.lowest:.2f} to {each.highest:.2f})"
        print(f"{each.name:36} {each.value:12.2f} {each.unit:5} {spread}")
    for line in _summary({each.name: each for each in figures}):
        print(line)


def _server_figures(
    folder: Path, receiver: OtlpReceiver, options: argparse.Namespace
) -> list[Figure]:
    _write_plugin(folder / "switch")
    environment = {
        FOLDER: str(folder),
        "SIDELIGHT_CAPTURE_CONTENT": "full",
        VLLM_OBSERVER: options.observer,
        "PYTHONPATH": f"{folder / 'injected'}{os.pathsep}{folder / 'switch'}",
    }
    with running_vllm(
        folder,
        otlp_endpoint=receiver.url,
        separate_worker=True,
        environment=environment,
        arguments=["--max-num-seqs", str(options.concurrency), "--num-gpu-blocks-override", "96"],
    ) as server:
        root = server.process.pid

        def work() -> None:
            load.run(server.url, server.model_name, options.requests, options.concurrency)

        work()
        # With one API server, the command itself serves.
        processes = {"api_server": root}
        if options.observer == "process":
            (processes["observer"],) = eventually(lambda: observers_below(root))
        engines = [pid for pid, line in below(root).items() if "EngineCore" in " ".join(line)]
        processes |= {f"engine_core_{number}": pid for number, pid in enumerate(engines)}
        measured = Measured(processes, folder / "threads")
        for pair in range(options.pairs):
            for mode in MODES[pair % 3 :] + MODES[: pair % 3]:
                sys.stderr.write(f"pair {pair + 1}: {mode}    \r")
                _switch(folder, mode)
                measured.measure(mode, options.requests, work)
        figures = _figures(measured)
        receiver.requests.clear()
    return figures


def _switch(folder: Path, mode: str) -> None:
    (folder / "mode").write_text(mode)
    eventually(
        lambda: any(
            path.read_text() == mode for path in folder.glob("[0-9]*") if path.name.isdigit()
        )
    )


def _write_plugin(folder: Path) -> None:
    metadata = folder / "sidelight_bench-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sidelight-bench\nVersion: 0\n")
    entry = "[vllm.general_plugins]\nsidelight_bench = sidelight_bench_switch:install\n"
    (metadata / "entry_points.txt").write_text(entry)
    source = (TESTS / "bench" / "vllm" / "switch.py").read_text()
    (folder / "sidelight_bench_switch.py").write_text(source)


def _figures(measured: Measured) -> list[Figure]:
    rows: list[Figure] = []
    for (process, mode), micros in measured.by_process.items():
        rows.append(figure(f"{process}.{mode}", "us", micros))
        if mode != "off" and process != "observer":
            base = measured.by_process[process, "off"]
            added = [each - alone for each, alone in zip(micros, base, strict=True)]
            shares = [100 * more / alone for more, alone in zip(added, base, strict=True)]
            rows.append(figure(f"{process}.{mode}.added", "us", added))
            rows += _with_error(f"{process}.{mode}.added_share", shares)
    off = measured.by_process["api_server", "off"]
    repeated = [100 * (after - before) / before for before, after in pairwise(off)]
    rows += _with_error("api_server.off.repeated_share", repeated)
    for (thread, mode), micros in measured.by_thread.items():
        rows.append(figure(f"api_server.{thread}.{mode}", "us", micros))
    return rows


def _added_up(figures: Sequence[Figure], concurrency: int) -> list[Figure]:
    """What the capture takes of the API server's CPU time for a request, from its single calls.

    A request has a stream, a sequence, and its share of the steps of a full batch.
    """
    by_name = {each.name: each for each in figures}
    if "call.stream.off" not in by_name:
        return []
    alone = by_name["api_server.off"].value
    rows = []
    for mode, content in (("on", "off"), ("full", "full")):
        calls_of_request = [
            (by_name[f"call.stream.{content}"], 1.0),
            (by_name["call.sequence"], 1.0),
            (by_name["call.record_step"], load.TOKENS / concurrency),
        ]
        micros = [
            sum(getattr(call, at) * count for call, count in calls_of_request)
            for at in ("lowest", "value", "highest")
        ]
        rows.append(figure(f"api_server.{mode}.added_up", "us", micros))
        shares = [100 * each / alone for each in micros]
        rows.append(figure(f"api_server.{mode}.added_up_share", "%", shares))
    return rows


def _with_error(name: str, shares: Sequence[float]) -> list[Figure]:
    """The figure of some rounds, and by how much chance moves their mean."""
    if len(shares) < 2:
        return []
    error = statistics.stdev(shares) / len(shares) ** 0.5
    return [figure(name, "%", shares), figure(f"{name}.standard_error", "%", [error])]


def _summary(figures: Mapping[str, Figure]) -> Iterator[str]:
    """The cost by both ways of measuring it, each beside its noise."""
    for what, name in (
        ("content off, added up", "api_server.on.added_up_share"),
        ("content full, added up", "api_server.full.added_up_share"),
        ("content off, toggled", "api_server.on.added_share"),
        ("content full, toggled", "api_server.full.added_share"),
        ("nothing toggled, a round beside the next", "api_server.off.repeated_share"),
    ):
        if (share := figures.get(name)) is not None:
            error = figures.get(f"{name}.standard_error")
            noise = "" if error is None else f", standard error {error.value:.1f}"
            yield (
                f"{what}: {share.value:+.1f} % of the API server's CPU time "
                f"({share.lowest:+.1f} to {share.highest:+.1f}{noise})"
            )


if __name__ == "__main__":
    main()
