"""The observer's work on a thread of the process that starts several API servers.

For where no observer process may be started. vLLM kills its API servers as soon as it is told to
end, and with them any thread of theirs. The process that starts them ends after them, has nothing
else to do while they serve, and can send what they have written until then.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Mapping
from math import inf
from typing import Final

from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm import environment
from sidelight.instrumentation.vllm.export.http_client import InvalidVariableError
from sidelight.instrumentation.vllm.faults import origin
from sidelight.instrumentation.vllm.logger import logger, unheard_logger
from sidelight.instrumentation.vllm.observer import rendezvous
from sidelight.instrumentation.vllm.observer.rendezvous import MAX_END_SECONDS, MeetingPlace
from sidelight.instrumentation.vllm.observer.service import ObserverService, remove_place
from sidelight.instrumentation.vllm.pipeline import RecordPipeline
from sidelight.instrumentation.vllm.versions import Versions

# So that the line about spans that are lost comes before vLLM's end.
MAX_EXPORT_STOP_SECONDS: Final = MAX_END_SECONDS - 0.5


def serve_api_servers(environ: Mapping[str, str] = environment.AT_START) -> None:
    """Serve the API servers that this process is about to start, if `environ` wants no process.

    Where that is not possible, each API server does the work itself, and says what is wrong.
    """
    # The API servers tell of wrong values.
    settings = Settings.from_environment(environ, unheard_logger())
    if settings.disabled or settings.vllm_observer != "thread":
        return
    # Its sockets tell the user of the other end.
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(InvalidVariableError, OSError):
        _Thread(MeetingPlace(rendezvous.directory()), settings, environ).start()


class _Thread:
    def __init__(self, place: MeetingPlace, settings: Settings, environ: Mapping[str, str]) -> None:
        pipeline = RecordPipeline(settings, Versions.installed(), environ)
        with place.locked():
            listener = place.listen()
        self._place = place
        self._socket_inode = place.socket.stat().st_ino
        # A model takes minutes to load before an API server connects.
        self._service = ObserverService(
            listener,
            pipeline,
            first_connection_seconds=inf,
            export_stop_seconds=MAX_EXPORT_STOP_SECONDS,
        )
        self._thread = threading.Thread(target=self._run, name="sidelight-observer", daemon=True)

    def start(self) -> None:
        self._thread.start()
        atexit.register(self._wait_for_end)
        os.register_at_fork(after_in_child=self._service.forget)

    def _run(self) -> None:
        try:
            self._service.run()
        except BaseException as error:  # noqa: BLE001 - a thread of ours would print its text
            # The API servers notice, and do the work themselves.
            self._service.forget()
            logger.warning(
                "Sidelight: %s ended the thread that observes the API servers (%s). vLLM is not "
                "affected; the API servers do its work. Report this line with the versions of vLLM "
                "and Sidelight.",
                type(error).__name__, origin(error),
            )  # fmt: skip
        finally:
            remove_place(self._place, self._socket_inode)

    def _wait_for_end(self) -> None:
        # Without an API server there is nothing to send. A forked child does not have the thread.
        if self._service.has_served:
            self._thread.join(MAX_END_SECONDS)
