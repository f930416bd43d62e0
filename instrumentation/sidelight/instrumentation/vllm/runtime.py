"""The composition root inside vLLM's API server: queue, processing thread and exporter.

The stat logger or the middleware makes it on first use. Processes that have neither (engine
cores, GPU workers) never make it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm import environment
from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.capture_queue import CaptureQueue
from sidelight.instrumentation.vllm.export.emitter import SpanEmitter
from sidelight.instrumentation.vllm.export.exporter import OtlpExporter, make_client
from sidelight.instrumentation.vllm.export.resource import make_resource, version_of
from sidelight.instrumentation.vllm.export.sampling import make_sampler
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.metrics import DataPoint
from sidelight.instrumentation.vllm.processing import ProcessingThread

_logger = logging.getLogger(__name__)
_lock: Final = threading.Lock()
# How long vLLM's exit waits at most.
MAX_PROCESSING_STOP_SECONDS: Final = 0.5
MAX_EXPORT_STOP_SECONDS: Final = 1.5


class Runtime:
    """What one process shares between its stat loggers and its middleware."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queue = CaptureQueue()
        self.budget = CaptureBudget()
        self.processing = ProcessingThread(settings, self.queue, self.budget)
        self.stat_logger_guard = FaultGuard("stat logger")
        self.middleware_guard = FaultGuard("middleware")
        # Counted on the event loop alone, and read by the export thread.
        self.active_requests = 0

    def start(self, version: str | None, environ: Mapping[str, str]) -> None:
        """Start the two threads, as the `OTEL_*` variables in `environ` say. `version` is vLLM's.

        Raises `ValueError` if an `OTEL_*` variable is invalid.
        """
        resource = make_resource(version, environ)
        exporter = OtlpExporter(
            resource,
            make_client("traces", environ),
            make_client("metrics", environ),
            data_points=lambda: self.data_points(exporter),
            environ=environ,
        )
        exporter.start()
        self.processing.start(SpanEmitter(make_sampler(environ), exporter.put, exporter.flush))

        def stop() -> None:
            self.processing.stop(MAX_PROCESSING_STOP_SECONDS)
            exporter.stop(MAX_EXPORT_STOP_SECONDS)

        atexit.register(stop)

    def data_points(self, exporter: OtlpExporter) -> Iterator[DataPoint]:
        """All metrics of the process."""
        yield from self.processing.data_points()
        yield DataPoint(names.SERVER_ACTIVE, {}, self.active_requests)
        for place, guard in (
            ("stat_logger", self.stat_logger_guard),
            ("middleware", self.middleware_guard),
            ("processing", self.processing.guard),
        ):
            yield DataPoint(names.INSTRUMENTATION_FAULTS, {"place": place}, guard.faults)
        for queue, dropped in (("capture", self.queue.dropped), ("export", exporter.dropped)):
            yield DataPoint(names.INSTRUMENTATION_DROPPED, {"queue": queue}, dropped)


_runtime: Runtime | None = None


def get() -> Runtime | None:
    """The runtime of this process, made and started on the first call.

    None if the instrumentation is disabled or could not start. The latter is logged once.
    """
    global _runtime
    with _lock:
        if _runtime is not None:
            return None if _runtime.settings.disabled else _runtime
        _runtime = Runtime(Settings.from_environment(environment.AT_START))
        if _runtime.settings.disabled:
            return None
        try:
            _runtime.start(version_of("vllm"), environment.AT_START)
            os.register_at_fork(after_in_child=_forget)
        except Exception as error:  # noqa: BLE001 - vLLM must start without us
            _logger.warning(
                "Sidelight: cannot start (%s: %.200s). vLLM is not affected. Check the OTEL_* "
                "variables.",
                type(error).__name__, error,
            )  # fmt: skip
            _runtime = Runtime(Settings(disabled=True))
            return None
        return _runtime


def _forget() -> None:
    # A forked child has no threads. It makes its own runtime if it needs one.
    global _runtime
    _runtime = None
