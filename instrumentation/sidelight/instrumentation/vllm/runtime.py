"""The composition root inside vLLM's API server: one queue, one worker, one exporter.

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
from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.capture_queue import CaptureQueue
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.metrics import DataPoint
from sidelight.instrumentation.vllm.processing import ProcessingThread

if TYPE_CHECKING:
    from sidelight.instrumentation.vllm.export.exporter import OtlpExporter

_logger = logging.getLogger(__name__)
_lock: Final = threading.Lock()
_WORKER_STOP_SECONDS: Final = 0.5
_OUTBOX_STOP_SECONDS: Final = 1.5


class Runtime:
    """What one process shares between its stat loggers and its middleware."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queue = CaptureQueue()
        self.budget = CaptureBudget()
        self.processing = ProcessingThread(settings, self.queue)
        self.stat_logger_guard = FaultGuard("stat logger")
        self.middleware_guard = FaultGuard("middleware")

    def start(self, version: str | None) -> None:
        """Start the threads that read the queue and send."""
        from sidelight.instrumentation.vllm.export.emitter import SpanEmitter
        from sidelight.instrumentation.vllm.export.exporter import (
            OtlpExporter,
            make_resource,
            make_sender,
        )

        resource = make_resource(version)
        senders = make_sender("traces", os.environ), make_sender("metrics", os.environ)
        outbox = OtlpExporter(resource, *senders, data_points=lambda: self.data_points(outbox))
        outbox.start()
        self.processing.start(SpanEmitter(resource, outbox.put, outbox.flush))

        def stop() -> None:
            self.processing.stop(_WORKER_STOP_SECONDS)
            outbox.stop(_OUTBOX_STOP_SECONDS)

        atexit.register(stop)

    def data_points(self, outbox: OtlpExporter) -> Iterator[DataPoint]:
        """All metrics of the process."""
        yield from self.processing.data_points()
        for place, guard in (
            ("stat_logger", self.stat_logger_guard),
            ("middleware", self.middleware_guard),
            ("worker", self.processing.guard),
        ):
            yield DataPoint(names.INSTRUMENTATION_FAULTS, {"place": place}, guard.faults)
        for queue, dropped in (("queue", self.queue.dropped), ("outbox", outbox.dropped)):
            yield DataPoint(names.INSTRUMENTATION_DROPPED, {"queue": queue}, dropped)


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
