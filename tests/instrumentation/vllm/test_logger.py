"""Where the lines of the vLLM part go, and how often."""

from __future__ import annotations

import subprocess
import sys

from sidelight.instrumentation.vllm.logger import INTERVAL_SECONDS, INTERVAL_TEXT, Occasions

PROGRAM = """
import logging, sys
from sidelight.instrumentation.vllm import logger
logging.getLogger().setLevel(logging.ERROR)
logger.log_with(logger.stream_handler(sys.stdout))
logger.logger.warning("Sidelight: %s", "away")
"""


def test_occasions() -> None:
    """A subject is due once in the interval, whatever others are."""
    now = 0.0
    occasions = Occasions(lambda: now)
    assert [occasions.due("send"), occasions.due("send"), occasions.due("drops")] == [
        True, False, True,
    ]  # fmt: skip
    now = INTERVAL_SECONDS
    assert occasions.due("send")
    assert f"{INTERVAL_SECONDS / 60:.0f} minutes" == INTERVAL_TEXT


def test_a_process_without_vllm() -> None:
    """It writes lines in vLLM's format, whatever the root logger's level is."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("(Sidelight pid=")
    assert done.stdout.endswith(" Sidelight: away\n")
    assert ") WARNING " in done.stdout
