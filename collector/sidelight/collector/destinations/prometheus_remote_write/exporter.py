"""Sends metrics by Prometheus remote write 1.0, to Prometheus, Mimir, Thanos and others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sidelight.base.executor import run_in_thread
from sidelight.collector.destinations.common.credentials import SecretHeaders
from sidelight.collector.destinations.common.http_exporter import HttpExporter, check_headers
from sidelight.collector.destinations.common.outcome import Delivered, Outcome
from sidelight.collector.destinations.prometheus_remote_write import snappy
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.prometheus_remote_write.series import (
    ConvertedMetrics,
    convert,
)
from sidelight.collector.log.record import Record

# As the specification of remote write 1.0 requires; the version is that of the protocol's draft.
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def build(config: RemoteWriteDestination) -> RemoteWriter:
    """The exporter. Raises `ConfigError` if the name of a header is not valid."""
    check_headers(config.name, config.headers)
    return RemoteWriter(config)


class RemoteWriter(HttpExporter):
    """Sends one request for each stored batch, in order."""

    def __init__(self, config: RemoteWriteDestination) -> None:
        # No path: the URL is the endpoint itself.
        super().__init__(config, paths={"metrics": ""}, credentials=SecretHeaders(config.headers))

    async def send(self, record: Record) -> Outcome:
        """Send the samples of a record. Faults of network, backend and credentials are outcomes."""
        # On a thread: a point takes 14 µs, and a metric may have thousands of them.
        converted, body = await run_in_thread(partial(_encoded, record), "sidelight-remote-write")
        left_out = converted.left_out.total()
        reasons = ", ".join(sorted(converted.left_out))
        delivered = Delivered(
            left_out, f"not supported by remote write: {reasons}" if left_out else ""
        )
        # Nothing is left to send. An empty record is the doctor's, and is sent.
        if record.items and not converted.request.timeseries:
            return replace(delivered, was_sent=False)
        outcome = await self.export("", body, _HEADERS)
        return delivered if isinstance(outcome, Delivered) else outcome


def _encoded(record: Record) -> tuple[ConvertedMetrics, bytes]:
    """The samples of a record, and the body of the request with them."""
    converted = convert(record.body())
    return converted, snappy.compress(converted.request.SerializeToString())
