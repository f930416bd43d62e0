"""Switches the capture of a running vLLM: loaded into it as one more general plugin.

A file of this process's id in the folder `SIDELIGHT_BENCH_SWITCH` holds the mode: `off` leaves
what the hooks cost when they do nothing, `on` captures no content, `full` captures it. A file
`threads` then holds the ids of Sidelight's own threads there, which the kernel does not name.
"""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

FOLDER = "SIDELIGHT_BENCH_SWITCH"


def install() -> None:
    """Watch the file on a thread, which sleeps nearly all of the time."""
    threading.Thread(target=_watch, name="bench-switch", daemon=True).start()


def _watch() -> None:
    folder, mode = Path(os.environ[FOLDER]), ""
    while True:
        time.sleep(0.25)
        try:
            told = (folder / "mode").read_text().strip()
        except OSError:
            continue
        if told == mode:
            continue
        from sidelight.instrumentation.vllm import runtime

        shared = runtime._runtime
        if shared is not None:
            until = math.inf if told == "off" else None
            for guard in (
                shared.middleware_guard, shared.stat_logger_guard, shared.output_processor_guard
            ):  # fmt: skip
                guard._off_until = until
            content: Any = "full" if told == "full" else "off"
            shared.settings = replace(shared.settings, capture_content=content)
            own = (t for t in threading.enumerate() if t.name.startswith("sidelight"))
            (folder / "threads").write_text(" ".join(str(thread.native_id) for thread in own))
            (folder / str(os.getpid())).write_text(told)
        mode = told
