"""Prometheus remote write 1.0: metrics as samples, to Prometheus, Mimir, Thanos and the like."""

from __future__ import annotations

from functools import partial

from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import run_in_thread
from sidelight.base.http_client.client import NoAnswerError
from sidelight.collector.destinations.common.answer import judge
from sidelight.collector.destinations.common.credentials import SecretHeaders
from sidelight.collector.destinations.common.http_exporter import HttpExporter, check_headers
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Retry
from sidelight.collector.destinations.prometheus_remote_write import snappy
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.prometheus_remote_write.series import (
    ConvertedMetrics,
    convert,
)
from sidelight.collector.log.record import Record

_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def build(config: RemoteWriteDestination) -> RemoteWriter:
    """The writer. Raises `ConfigError` if a header's name is not one."""
    check_headers(config.name, config.headers)
    return RemoteWriter(config)


class RemoteWriter(HttpExporter):
    """One request for each stored batch, in order."""

    def __init__(self, config: RemoteWriteDestination) -> None:
        self._secrets = SecretHeaders(config.headers)
        super().__init__(config, paths={"metrics": ""}, credentials=self._secrets)

    async def send(self, record: Record) -> Outcome:
        """Send the record's samples; never raises for a fault of network, backend or keys."""
        # Some 14 µs a point, of which a metric may have thousands.
        converted, body = await run_in_thread(partial(_encoded, record), "sidelight-remote-write")
        left_out = converted.left_out.total()
        kept = Delivered(
            left_out,
            "what remote write cannot hold: " + ", ".join(sorted(converted.left_out))
            if left_out
            else "",
        )
        if record.items and not converted.request.timeseries:
            return kept
        try:
            answer = await self.post("", body, _HEADERS)
        except (NoAnswerError, ConfigError) as error:
            return Retry(str(error))
        outcome = judge(answer, url=self.url, credentials=self._secrets.sources)
        return kept if isinstance(outcome, Delivered) else outcome


def _encoded(record: Record) -> tuple[ConvertedMetrics, bytes]:
    """A record's samples, and the request's body that carries them."""
    converted = convert(record.body())
    return converted, snappy.compress(converted.request.SerializeToString())
