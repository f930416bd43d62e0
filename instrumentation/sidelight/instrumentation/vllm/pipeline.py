"""From raw records to what is sent: processing, sampling and export put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.export.emitter import SpanEmitter
from sidelight.instrumentation.vllm.export.exporter import OtlpExporter
from sidelight.instrumentation.vllm.export.http_client import make_client
from sidelight.instrumentation.vllm.export.resource import make_resource
from sidelight.instrumentation.vllm.export.sampling import make_sampler
from sidelight.instrumentation.vllm.metrics import DataPoint
from sidelight.instrumentation.vllm.processing import Processing
from sidelight.instrumentation.vllm.versions import Versions


class RecordPipeline:
    """Processing and the thread that sends, as the variables in `environ` say.

    `pause` is called between records, so that another thread may run. Raises
    `InvalidVariableError` if an `OTEL_*` variable is invalid.
    """

    def __init__(
        self,
        settings: Settings,
        versions: Versions,
        environ: Mapping[str, str],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._exporter = OtlpExporter(
            make_resource(versions, environ),
            make_client("traces", environ),
            make_client("metrics", environ),
            data_points=self._data_points,
            environ=environ,
        )
        emitter = SpanEmitter(make_sampler(environ), self._exporter.put, self._exporter.flush)
        self.processing = Processing(settings, emitter, pause)

    def start(self) -> None:
        """Start the thread that sends."""
        self._exporter.start()

    def stop(self, seconds: float) -> None:
        """Send what is there, for at most `seconds`, and stop."""
        self._exporter.stop(seconds)

    def _data_points(self) -> Iterator[DataPoint]:
        yield from self.processing.data_points()
        faults = self._exporter.guard.faults
        yield DataPoint(names.INSTRUMENTATION_FAULTS, {"place": "export"}, faults)
        yield DataPoint(names.INSTRUMENTATION_DROPPED, {"queue": "export"}, self._exporter.dropped)
