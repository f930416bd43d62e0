"""Rotel, a collector in Rust with a package on PyPI, started as its package does."""

from __future__ import annotations

import subprocess
import sys
import time
import venv
from pathlib import Path

from support.ports import free_port

VERSION = "0.0.1a15"


def ensure_rotel(directory: Path) -> Path | None:
    """The rotel binary, installed below `directory`; None, with a word why, if it cannot be."""
    found = list(directory.glob("lib/*/site-packages/rotel/rotel-agent"))
    if not found:
        venv.create(directory, with_pip=True)
        installed = subprocess.run(
            [directory / "bin" / "pip", "install", "-q", f"rotel=={VERSION}"],
            capture_output=True,
            check=False,
        )
        found = list(directory.glob("lib/*/site-packages/rotel/rotel-agent"))
        if installed.returncode or not found:
            sys.stderr.write(f"rotel=={VERSION} cannot be installed here: its rows are missing\n")
            return None
    return found[0]


def start_rotel(
    binary: Path, sink_port: int, core: int, *, compression: str
) -> tuple[subprocess.Popen[bytes], int, int]:
    """A running rotel on `core` that forwards traces over HTTP; its HTTP and gRPC ports."""
    http_port, grpc_port = free_port(), free_port()
    process = subprocess.Popen(
        [
            *("taskset", "-c", str(core), binary, "start"),
            *("--otlp-http-endpoint", f"127.0.0.1:{http_port}"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"),
            *("--otlp-grpc-max-recv-msg-size-mib", "64"),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
            *("--otlp-exporter-endpoint", f"http://127.0.0.1:{sink_port}"),
            *("--otlp-exporter-compression", compression),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(2)
    if process.poll() is not None:
        raise RuntimeError(f"rotel ended with {process.returncode}")
    return process, http_port, grpc_port
