"""`sidelight demo`: its options, its requirements and its exit codes."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

# The packages of the extra [demo], by their import names.
_PACKAGES = ("httpx", "milvus_lite", "numpy", "pymilvus", "safetensors", "tokenizers")
# For output that is not a terminal: the rows of the report fit into it.
_PLAIN_WIDTH = 120
EXIT_MISSING = 1
EXIT_CANNOT_RUN = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the command.

    `directory` gets all files of the demo, and is emptied first. `vllm_url` and `phoenix_url` are
    the base URLs of the user's own servers, used instead of the demo's. `langfuse_url` is that of
    a Langfuse to send to as well. `keep`: keep serving until interrupted. `verbose`: show where
    the processes log.
    """

    directory: Path = Path("sidelight-demo")
    vllm_url: str | None = None
    phoenix_url: str | None = None
    langfuse_url: str | None = None
    keep: bool = False
    verbose: bool = False


def run(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo and return its exit code.

    0: everything was found; 1: something is missing; 2: it could not run; 130: interrupted. All
    processes that it started have exited when it returns.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        console.print(
            f"The demo needs {', '.join(missing)}: run pip install 'sidelight[demo]'", markup=False
        )
        return EXIT_CANNOT_RUN
    if sys.platform == "win32":
        console.print("The demo runs vLLM, which needs Linux; use WSL or a container.")
        return EXIT_CANNOT_RUN
    # Set before numpy is imported. With more threads each small product waits for a core that
    # vLLM uses, and an embedding takes a second instead of 15 ms.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # gRPC's C library and pymilvus would write errors to the terminal that the spans show.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from sidelight.demo.stage import CannotRunError, play

    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    try:
        findings = asyncio.run(play(options, console))
    except CannotRunError as error:
        console.print(f"\n{error}", style="red", markup=False, highlight=False)
        return EXIT_CANNOT_RUN
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\nInterrupted. Everything that the demo started has stopped.")
        return EXIT_INTERRUPTED
    missed = [finding for finding in findings if finding.required and not finding.found]
    return EXIT_MISSING if missed else 0
