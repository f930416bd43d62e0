"""The demo's tiny model with random weights, created locally so that nothing is downloaded."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from sidelight.demo.environments import cache_directory
from sidelight.demo.processes import ProcessError, Processes

_SCRIPT = Path(__file__).with_name("_build_model.py")
_TEXT = Path(__file__).with_name("passages.txt")
_TIMEOUT_SECONDS = 120


def ensure(python: Path, processes: Processes, *, cache: Path | None = None) -> Path:
    """Create the model with vLLM's `python`, unless it is in the cache; returns its folder.

    Raises `ProcessError` with the end of the script's output.
    """
    key = hashlib.sha256(_SCRIPT.read_bytes() + _TEXT.read_bytes()).hexdigest()[:12]
    directory = (cache or cache_directory()) / "models" / f"tiny-qwen3-{key}"
    if directory.is_dir():
        return directory
    # Renamed when complete, so that an interrupted build leaves no broken model.
    unfinished = directory.with_name(f"{directory.name}.{os.getpid()}")
    unfinished.mkdir(parents=True, exist_ok=True)
    try:
        process = processes.start(
            "build-model",
            [python, "-I", _SCRIPT, _TEXT, unfinished],
            environment={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
        )
        if process.wait(_TIMEOUT_SECONDS) != 0:
            raise ProcessError(f"cannot create the tiny model:\n{process.log_tail()}")
        processes.stop(process)
        # Another process may have been faster; its model is the same.
        if not directory.is_dir():
            unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return directory
