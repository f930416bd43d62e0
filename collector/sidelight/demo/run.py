"""`sidelight demo`: what may be asked of it, what it needs, and how it ends."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

# What the extra [demo] brings, by the name it is imported under.
_NEEDED = ("httpx", "milvus_lite", "numpy", "pymilvus", "safetensors", "tokenizers")
_PLAIN_WIDTH = 120
EXIT_MISSING = 1
EXIT_CANNOT_RUN = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for.

    `directory` holds all the demo writes and is emptied first. `vllm_url` is the base URL of
    a server of the user's own, used instead of the tiny one. `keep` goes on serving until
    interrupted. `verbose` shows where each process logs.
    """

    directory: Path = Path("sidelight-demo")
    vllm_url: str | None = None
    keep: bool = False
    verbose: bool = False


def run(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo and return its exit code.

    0: everything was found; 1: something is missing, and named; 2: it could not run;
    130: interrupted. Every process it started has ended when it returns.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        console.print(
            f"The demo needs {', '.join(missing)}: pip install 'sidelight[demo]'", markup=False
        )
        return EXIT_CANNOT_RUN
    if sys.platform == "win32":
        console.print("The demo runs vLLM, which needs Linux; use WSL or a container.")
        return EXIT_CANNOT_RUN
    # Must be set before numpy is imported: with more threads each small product waits for a
    # core that vLLM holds, and an embedding takes a second instead of 15 ms.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # gRPC's C library and pymilvus write to the terminal what the spans say anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from sidelight.demo.stage import CannotRunError, play

    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    try:
        findings = asyncio.run(play(options, console))
    except CannotRunError as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False)
        return EXIT_CANNOT_RUN
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\nInterrupted. Everything the demo started has ended.")
        return EXIT_INTERRUPTED
    missed = [finding for finding in findings if finding.required and not finding.found]
    return EXIT_MISSING if missed else 0
