"""`python -m sidelight.instrumentation.vllm.observer LISTENER VLLM SIDELIGHT`.

Run by an API server of vLLM, never by hand. `LISTENER` is the number of an inherited file, which
is a listening Unix socket. The environment names its directory. `VLLM` and `SIDELIGHT` are
versions, empty if not known.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from pathlib import Path

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.faults import origin
from sidelight.instrumentation.vllm.logger import (
    log_with,
    logger,
    stream_handler,
    unheard_logger,
)
from sidelight.instrumentation.vllm.observer.log_lines import LineSender
from sidelight.instrumentation.vllm.observer.rendezvous import DIRECTORY_VARIABLE, MeetingPlace
from sidelight.instrumentation.vllm.observer.service import ObserverService, remove_place
from sidelight.instrumentation.vllm.pipeline import RecordPipeline
from sidelight.instrumentation.vllm.versions import Versions

# vLLM's own work comes first where both want a core.
NICENESS = 5


def main(arguments: list[str]) -> None:
    """Serve until no API server is left."""
    descriptor, place = int(arguments[0]), MeetingPlace(Path(os.environ[DIRECTORY_VARIABLE]))
    versions = Versions(*(argument or None for argument in arguments[1:3]))
    # The standard error stream is vLLM's. It has what no API server can log.
    on_stderr = stream_handler(sys.stderr)
    log_with(on_stderr)
    # Who stops a service signals all its processes. This one ends once vLLM has, with its data.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    listener = socket.socket(fileno=descriptor)
    # The file of a bound socket has an inode of its own.
    inode = place.socket.stat().st_ino
    # The API server has told of wrong values.
    settings = Settings.from_environment(os.environ, unheard_logger())
    pipeline = RecordPipeline(settings, versions, os.environ)
    gc.collect()
    gc.freeze()
    service = ObserverService(listener, pipeline)
    log_with(LineSender(service.connections, on_stderr))
    try:
        service.run()
    except BaseException as error:  # noqa: BLE001 - Python would print its text, which may quote
        logger.warning(
            "Sidelight: %s ended the observer process (%s). vLLM is not affected; another one is "
            "started. Report this line with the versions of vLLM and Sidelight.",
            type(error).__name__, origin(error),
        )  # fmt: skip
        sys.exit(1)
    finally:
        remove_place(place, inode)


if __name__ == "__main__":
    main(sys.argv[1:])
