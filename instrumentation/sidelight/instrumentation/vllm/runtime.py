"""The composition root inside vLLM's API server: queue, processing thread and exporter.

The stat logger or the middleware makes it on first use. Processes that have neither (engine
cores, GPU workers) never make it.
"""

from __future__ import annotations

import atexit
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
from sidelight.instrumentation.vllm.export.http_client import InvalidVariableError
from sidelight.instrumentation.vllm.export.resource import make_resource, version_of
from sidelight.instrumentation.vllm.export.sampling import make_sampler
from sidelight.instrumentation.vllm.faults import FaultGuard, reraise_interrupt
from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.metrics import DataPoint
from sidelight.instrumentation.vllm.processing import ProcessingThread
from sidelight.instrumentation.vllm.versions import version_warning

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

        Raises `InvalidVariableError` if an `OTEL_*` variable is invalid.
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
            for stop_thread, seconds in (
                (self.processing.stop, MAX_PROCESSING_STOP_SECONDS),
                (exporter.stop, MAX_EXPORT_STOP_SECONDS),
            ):
                try:
                    stop_thread(seconds)
                except BaseException as error:  # noqa: BLE001 - vLLM's exit prints it otherwise
                    exporter.guard.fault(error)

        atexit.register(stop)

    def data_points(self, exporter: OtlpExporter) -> Iterator[DataPoint]:
        """All metrics of the process."""
        yield from self.processing.data_points()
        yield DataPoint(names.SERVER_ACTIVE, {}, self.active_requests)
        for place, guard in (
            ("stat_logger", self.stat_logger_guard),
            ("middleware", self.middleware_guard),
            ("processing", self.processing.guard),
            ("export", exporter.guard),
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
        _runtime = Runtime(Settings.from_environment(environment.AT_START, logger))
        if _runtime.settings.disabled:
            return None
        try:
            version = version_of("vllm")
            _runtime.start(version, environment.AT_START)
            os.register_at_fork(after_in_child=_forget)
            if warning := version_warning(version):
                logger.warning(warning)
        except BaseException as error:  # noqa: BLE001 - vLLM must start without us
            _runtime = Runtime(Settings(disabled=True))
            reraise_interrupt(error)
            # Other messages may quote a value of a variable, which may be a secret.
            reason = str(error) if isinstance(error, InvalidVariableError) else type(error).__name__
            logger.warning(
                "Sidelight: cannot start (%s). vLLM is not affected; there are no spans and no "
                "metrics. Correct the variable and restart vLLM, or report this line if it names "
                "none.", reason,
            )  # fmt: skip
            return None
        return _runtime


def _forget() -> None:
    # A forked child has no threads. It makes its own runtime if it needs one.
    global _runtime
    _runtime = None
