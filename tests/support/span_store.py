"""A backend that stores span ids: what a test counts to see whether anything was lost."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.backend import Backend, Reply, Request
from support.waiting import PATIENCE_SECONDS


class SpanStore(Backend):
    """Takes any OTLP/HTTP traces; `ids` counts how often each span id came.

    `refuse` may answer a request instead; what it answers is not stored. `answer` goes out for
    what is.
    """

    def __init__(
        self, port: int = 0, refuse: Callable[[Request], Reply | None] = lambda _: None
    ) -> None:
        self.ids: Counter[bytes] = Counter()
        self.refuse = refuse
        self.answer = Reply(200, b"", {"Content-Type": "application/x-protobuf"})
        super().__init__(self._store, port=port)

    def _store(self, request: Request) -> Reply:
        self.requests.clear()
        refusal = self.refuse(request)
        if refusal is not None:
            return refusal
        export = ExportTraceServiceRequest.FromString(gzip.decompress(request.body))
        self.ids.update(
            span.span_id
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        )
        return self.answer

    def destination(self, name: str = "store", **keys: object) -> dict[str, object]:
        """This backend as a destination of sidelight.yaml.

        What is answered too late is sent twice. So it has time to answer, however busy the machine.
        """
        return {
            "type": "otlp_http",
            "name": name,
            "url": self.url,
            "signals": ["traces"],
            "timeout_seconds": PATIENCE_SECONDS,
            **keys,
        }
