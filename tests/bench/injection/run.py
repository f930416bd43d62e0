"""How long an API server waits for the webhook, over real TLS: `make bench-injection`.

    PYTHONPATH=tests python -m bench.injection.run [--seconds N] [--output FILE]

An API server keeps a few connections open and sends each new pod over one of them. Here four
connections send recorded AdmissionReviews, at 50 a second (a rollout of a large cluster) and then
as fast as they are answered (the most that a core does), and once more pods of 200 kB.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import Figure, machine, write
from support.certificates import Authority
from support.kubernetes.admission import RECORDED, connected, review_over
from support.kubernetes.injector import Injector

CONNECTIONS = 4
PACED_REVIEWS_A_SECOND = 50
WARM_UP_REVIEWS = 50
# The limit that the project sets itself (issue of Kubernetes injection).
MAX_P99_SECONDS = 0.05


@dataclass(frozen=True)
class Load:
    """What is sent: a review, and how many a second; None: as many as are answered."""

    name: str
    review: dict[str, Any]
    reviews_a_second: int | None


def large_review() -> dict[str, Any]:
    """A review of a pod with six containers of 200 variables each."""
    review = copy.deepcopy(RECORDED[0])
    spec = review["request"]["object"]["spec"]
    (vllm,) = spec["containers"]
    vllm["env"] = [{"name": f"VARIABLE_{number}", "value": "x" * 128} for number in range(200)]
    spec["containers"] += [{**vllm, "name": f"other-{number}"} for number in range(5)]
    spec["containers"][0]["command"] = ["vllm", "serve", "model"]
    for other in spec["containers"][1:]:
        other["image"] = "example/sidecar"
    return review


LOADS = (
    Load("paced", RECORDED[0], PACED_REVIEWS_A_SECOND),
    Load("saturated", RECORDED[0], None),
    Load("pods of 200 kB, paced", large_review(), PACED_REVIEWS_A_SECOND // 5),
)


def waits(injector: Injector, authority: Authority, load: Load, seconds: float) -> list[float]:
    """Seconds that each review took, seen by the client."""
    taken: list[float] = []
    ends_at = time.perf_counter() + seconds
    pause = CONNECTIONS / load.reviews_a_second if load.reviews_a_second else 0.0

    def send(number: int) -> None:
        connection = connected(injector.port, authority.client(), "localhost")
        due = time.perf_counter() + pause * number / CONNECTIONS
        while due < ends_at and time.perf_counter() < ends_at:
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            assert review_over(connection, load.review).patch
            taken.append(time.perf_counter() - started)
            due = max(due + pause, started)
        connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all values are."""
    return statistics.quantiles(values, n=1000)[round(share * 1000) - 1]


def cpu_seconds(injector: Injector) -> float:
    """CPU time of the process so far."""
    return _metric(injector, "process_cpu_seconds_total")


def _metric(injector: Injector, name: str) -> float:
    lines = injector.get("/metrics")[1].splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def measured(seconds: float) -> list[Figure]:
    """All figures; the injector is a process of its own."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        authority = Authority(directory)
        pair = authority.issue("tls")
        options = ("--certificate", pair.certificate, "--key", pair.key, "--no-events")
        with Injector(directory, *options) as injector:
            for load in LOADS:
                connection = connected(injector.port, authority.client(), "localhost")
                for _ in range(WARM_UP_REVIEWS):
                    review_over(connection, load.review)
                connection.close()
                before = cpu_seconds(injector)
                taken = waits(injector, authority, load, seconds)
                cpu = (cpu_seconds(injector) - before) / len(taken)
                for name, unit, value in (
                    ("p50", "ms", percentile(taken, 0.5) * 1000),
                    ("p99", "ms", percentile(taken, 0.99) * 1000),
                    ("longest", "ms", max(taken) * 1000),
                    ("CPU", "ms", cpu * 1000),
                    ("reviews a second", "", len(taken) / seconds),
                ):
                    place = f"{load.name}: {name}"
                    figures.append(Figure(place, value, unit, value, value, len(taken)))
            memory = _metric(injector, "process_resident_memory_bytes") / 2**20
            figures.append(Figure("resident memory", memory, "MiB", memory, memory, 1))
    return figures


def main() -> int:
    """Measure and print; 1 if a paced load's p99 is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each load")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    about = machine()
    figures = measured(arguments.seconds)
    for one in figures:
        print(f"{one.name:40} {one.value:10.2f} {one.unit:4} (of {one.runs})")
    if arguments.output is not None:
        write(arguments.output, figures, about)
    paced = [one.value for one in figures if one.name.endswith("paced: p99")]
    return int(max(paced) > MAX_P99_SECONDS * 1000)


if __name__ == "__main__":
    sys.exit(main())
