"""The composition root inside vLLM's API server: one inbox, one worker, one exporter.

Made on first use by the stat logger or the middleware, whichever comes first; processes that
use neither (engine cores, workers) never make it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.exchange import Held
from sidelight.instrumentation.vllm.guard import Guard
from sidelight.instrumentation.vllm.inbox import Inbox
from sidelight.instrumentation.vllm.meters import Reading
from sidelight.instrumentation.vllm.worker import Worker

if TYPE_CHECKING:
    from sidelight.instrumentation.vllm.export import Outbox

_logger = logging.getLogger(__name__)
_lock: Final = threading.Lock()
_WORKER_STOP_SECONDS: Final = 0.5
_OUTBOX_STOP_SECONDS: Final = 1.5


class Runtime:
    """What one process shares between its stat loggers and its middleware."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inbox = Inbox()
        self.held = Held()
        self.worker = Worker(settings, self.inbox)
        self.engine_guard = Guard("stat logger")
        self.server_guard = Guard("middleware")

    def start(self, version: str | None) -> None:
        """Start the threads that read the inbox and send."""
        from sidelight.instrumentation.vllm.export import Outbox, make_resource, make_sender
        from sidelight.instrumentation.vllm.tracing import Tracing

        resource = make_resource(version)
        senders = make_sender("traces", os.environ), make_sender("metrics", os.environ)
        outbox = Outbox(resource, *senders, readings=lambda: self.readings(outbox))
        outbox.start()
        self.worker.start(Tracing(resource, outbox.put, outbox.flush))

        def stop() -> None:
            self.worker.stop(_WORKER_STOP_SECONDS)
            outbox.stop(_OUTBOX_STOP_SECONDS)

        atexit.register(stop)

    def readings(self, outbox: Outbox) -> Iterator[Reading]:
        """All metrics of the process."""
        yield from self.worker.readings()
        for place, guard in (
            ("stat_logger", self.engine_guard),
            ("middleware", self.server_guard),
            ("worker", self.worker.guard),
        ):
            yield Reading(names.INSTRUMENTATION_FAULTS, {"place": place}, guard.faults)
        for queue, dropped in (("inbox", self.inbox.dropped), ("outbox", outbox.dropped)):
            yield Reading(names.INSTRUMENTATION_DROPPED, {"queue": queue}, dropped)


_runtime: Runtime | None = None


def get() -> Runtime | None:
    """The runtime of this process, made and started on the first call.

    None where the instrumentation is disabled or could not start, which is logged once.
    """
    global _runtime
    with _lock:
        if _runtime is not None:
            return None if _runtime.settings.disabled else _runtime
        _runtime = Runtime(Settings.from_environment())
        if _runtime.settings.disabled:
            return None
        try:
            _runtime.start(_vllm_version())
            os.register_at_fork(after_in_child=_forget)
        except Exception as error:  # noqa: BLE001 - vLLM must start without us
            _logger.warning(
                "Sidelight: could not start (%s: %.200s); vLLM runs on without it. Check the "
                "OTEL_* variables and the installed opentelemetry packages.",
                type(error).__name__, error,
            )  # fmt: skip
            _runtime = Runtime(Settings(disabled=True))
            return None
        return _runtime


def _forget() -> None:
    # Threads do not live on in a forked child; it makes a runtime of its own if it needs one.
    global _runtime
    _runtime = None


def _vllm_version() -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return None
