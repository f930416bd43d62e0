"""What one API server of vLLM captures with, and where its records go.

The hook on `AsyncLLM` or the middleware makes it on first use. Processes that have neither (engine
cores, GPU workers) never make it.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final, Protocol

from sidelight.instrumentation.settings import VLLM_OBSERVER, Settings
from sidelight.instrumentation.vllm import environment
from sidelight.instrumentation.vllm.capture import CaptureBudget
from sidelight.instrumentation.vllm.export.http_client import InvalidVariableError, make_client
from sidelight.instrumentation.vllm.faults import FaultGuard, origin, reraise_interrupt
from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.observer import rendezvous
from sidelight.instrumentation.vllm.observer.hand_off import ObserverHandOff
from sidelight.instrumentation.vllm.observer.rendezvous import MAX_PARENT_BYTES
from sidelight.instrumentation.vllm.records import Faults, Record
from sidelight.instrumentation.vllm.versions import Versions, version_warning

_lock: Final = threading.Lock()
# How long vLLM's exit waits at most.
MAX_PROCESSING_STOP_SECONDS: Final = 0.5
MAX_EXPORT_STOP_SECONDS: Final = 1.5


class HandOff(Protocol):
    """Where records go. None of its methods raises or blocks."""

    def add_engine(self, record: Record) -> None:
        """Hand over the record of an engine before its first step."""

    def put_step(self, record: Record) -> None:
        """Hand over the record of a step."""

    def put(self, record: Record) -> None:
        """Hand over any other record, whose bytes are then no longer the caller's."""


class Runtime:
    """What one process shares between its hooks and its middleware."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.budget = CaptureBudget()
        self.stat_logger_guard = FaultGuard("stat logger")
        self.output_processor_guard = FaultGuard("output processor")
        self.middleware_guard = FaultGuard("middleware")
        # Counted on the event loop alone.
        self.active_requests = 0
        self.hand_off: HandOff | None = None
        self._engines: list[Record] = []

    def start(self, versions: Versions, environ: Mapping[str, str]) -> None:
        """Start the observer process or, if none is wanted or possible, the processing thread.

        Raises `InvalidVariableError` if an `OTEL_*` variable is invalid.
        """
        # A wrong variable is to be told here once, and not by each process that ends of it.
        for signal in ("traces", "metrics"):
            make_client(signal, environ)
        is_thread = self.settings.vllm_observer == "thread"
        if is_thread and not rendezvous.is_served_by_parent():
            self._start_thread(versions, environ)
        elif not sys.platform.startswith("linux"):
            self._give_up(versions, environ, f"it needs Linux, this is {sys.platform}")
        else:
            observer = ObserverHandOff(
                self.budget,
                self.faults,
                versions,
                environ,
                give_up=lambda reason: self._give_up(versions, environ, reason),
                may_start=not is_thread,
            )
            self.hand_off = observer
            observer.start()
            # It waits at its own connection.
            atexit.unregister(rendezvous.wait_for_end)
            atexit.register(observer.stop)
            os.register_at_fork(after_in_child=observer.forget)

    def add_engine(self, record: Record) -> None:
        """Hand over the record of an engine before its first step."""
        self._engines.append(record)
        if self.hand_off is not None:
            self.hand_off.add_engine(record)

    def faults(self) -> Faults:
        """The faults of each place so far."""
        return (
            ("stat_logger", self.stat_logger_guard.faults),
            ("output_processor", self.output_processor_guard.faults),
            ("middleware", self.middleware_guard.faults),
        )

    def _start_thread(self, versions: Versions, environ: Mapping[str, str]) -> None:
        # Imported here, because an API server with an observer process needs none of it.
        from sidelight.instrumentation.vllm.pipeline import RecordPipeline
        from sidelight.instrumentation.vllm.processing_thread import ProcessingThread

        # Offers the interpreter to the event loop, which otherwise waits up to 5 ms for it.
        pipeline = RecordPipeline(self.settings, versions, environ, pause=lambda: time.sleep(0))
        thread = ProcessingThread(pipeline.processing, self.budget, self.faults)
        for record in self._engines:
            thread.add_engine(record)
        pipeline.start()
        thread.start()
        self.hand_off = thread

        def stop() -> None:
            for stop_thread, seconds in (
                (thread.stop, MAX_PROCESSING_STOP_SECONDS),
                (pipeline.stop, MAX_EXPORT_STOP_SECONDS),
            ):
                try:
                    stop_thread(seconds)
                except BaseException as error:  # noqa: BLE001 - vLLM's exit prints it otherwise
                    pipeline.processing.guard.fault(error)

        atexit.register(stop)

    def _give_up(self, versions: Versions, environ: Mapping[str, str], reason: str) -> None:
        if self.settings.vllm_observer == "thread":
            logger.warning(
                "Sidelight: the process that started this API server no longer observes it "
                "(%.200s). A thread of the API server does that, which costs requests more time. "
                "Restart vLLM.",
                reason,
            )
        else:
            logger.warning(
                "Sidelight: cannot run an observer process (%.200s). A thread of the API server "
                "does its work, which costs requests more time. Allow vLLM to start processes and "
                "to write to its temporary directory (TMPDIR if that has at most %d bytes, "
                "otherwise /tmp), or set %s=thread.",
                reason, MAX_PARENT_BYTES, VLLM_OBSERVER,
            )  # fmt: skip
        try:
            self._start_thread(versions, environ)
        except BaseException as error:  # noqa: BLE001 - a thread of ours would print its text
            reraise_interrupt(error)
            logger.warning(
                "Sidelight: cannot start its thread either (%s, %s). vLLM is not affected; there "
                "is no telemetry. Report this line with the versions of vLLM and Sidelight.",
                type(error).__name__, origin(error),
            )  # fmt: skip


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
            versions = Versions.installed()
            _runtime.start(versions, environment.AT_START)
            os.register_at_fork(after_in_child=_forget)
            if warning := version_warning(versions.vllm):
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
    # A forked child has neither threads nor a connection. It makes its own runtime if it needs one.
    global _runtime
    _runtime = None
