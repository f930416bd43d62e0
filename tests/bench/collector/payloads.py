"""Export requests as LLM services send them, the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bench.collector import traffic

_WORDS = ("the", "vector", "cache", "engine", "prefill", "queue", "token", "retrieval", "answer")

# Fixed times: what repairs a span looks at bytes of zero, and a time may hold some.
_STARTED = 1_790_000_000_000_000_000
_DAY = 86_400 * 10**9


def _request(scope: str) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    for key, text in (("service.name", "bench"), *traffic.SDK):
        pair = resource.resource.attributes.add()
        pair.key, pair.value.string_value = key, text
    resource.scope_spans.add().scope.name = scope
    return request


def _span(request: ExportTraceServiceRequest, source: random.Random, name: str) -> Span:
    span = request.resource_spans[0].scope_spans[0].spans.add()
    span.trace_id = source.randbytes(16)
    span.span_id = source.randbytes(8)
    span.parent_span_id = source.randbytes(8)
    span.name = name
    span.kind = Span.SPAN_KIND_CLIENT
    span.start_time_unix_nano = _STARTED + source.randrange(_DAY)
    span.end_time_unix_nano = span.start_time_unix_nano + 10_000_000
    return span


def _text(source: random.Random, length: int) -> str:
    words = " ".join(source.choice(_WORDS) for _ in range(length // 4))
    return words[:length]


def _attributes(span: Span, source: random.Random, count: int) -> None:
    for index in range(count):
        pair = span.attributes.add()
        pair.key = f"app.request.attribute.{index}"
        if index % 3:
            pair.value.string_value = f"value-{index}-{source.randbytes(8).hex()}"
        else:
            pair.value.int_value = index * 1000


def llm(spans: int = 256) -> bytes:
    """Some 1.6 kB a span: 15 to 24 attributes, a quarter of the spans with 2.9 kB of text."""
    source = random.Random(1)
    request = _request("bench")
    for index in range(spans):
        span = _span(request, source, "chat tiny")
        _attributes(span, source, 15 + index % 10)
        if index % 4 == 0:
            pair = span.attributes.add()
            pair.key, pair.value.string_value = "input.value", _text(source, 2900)
    return request.SerializeToString()


def rpc(spans: int = 512) -> bytes:
    """Small spans of plain services: 8 attributes, no text."""
    source = random.Random(2)
    request = _request("bench")
    for _ in range(spans):
        _attributes(_span(request, source, "GET /item"), source, 8)
    return request.SerializeToString()


def rag(spans: int = 32) -> bytes:
    """Few large spans: retrievals with 12 kB of documents each."""
    source = random.Random(3)
    request = _request("bench")
    for _ in range(spans):
        span = _span(request, source, "search passages")
        _attributes(span, source, 20)
        pair = span.attributes.add()
        pair.key, pair.value.string_value = "gen_ai.retrieval.documents", _text(source, 12_000)
    return request.SerializeToString()


def sequences(spans: int, *, distinct: int) -> list[bytes]:
    """Small foreign spans of which each has other attribute names, until `distinct` are reached."""
    source = random.Random(7)
    requests = []
    for first in range(0, max(distinct, spans), spans):
        request = _request("bench")
        for number in range(first, first + spans):
            span = _span(request, source, "chat tiny")
            _attributes(span, source, 4)
            span.attributes.add(key="gen_ai.system").value.string_value = "openai"
            name = f"app.field.{number % distinct}"
            span.attributes.add(key=name).value.string_value = source.randbytes(8).hex()
        requests.append(request.SerializeToString())
    return requests


def numbered(requests: Iterable[bytes]) -> list[bytes]:
    """Requests that end with a text, in which the load generator writes a number."""
    ended = []
    for request in requests:
        full = ExportTraceServiceRequest.FromString(request)
        # The last field of the last resource: no span is touched.
        full.resource_spans[-1].schema_url = f"urn:{0:016x}"
        ended.append(full.SerializeToString())
    return ended


PAYLOADS: dict[str, tuple[Callable[[int], list[bytes]], int]] = {
    "mix": (traffic.mix, 256),
    "demo": (traffic.demo, 256),
    "small": (traffic.demo, 10),
    "secrets": (traffic.mix_with_secrets, 256),
    "llm": (lambda spans: [llm(spans)], 256),
    "llm-small": (lambda spans: [llm(spans)], 10),
    "rpc": (lambda spans: [rpc(spans)], 512),
    "rag": (lambda spans: [rag(spans)], 32),
    **{
        f"sequences-{distinct}": (partial(sequences, distinct=distinct), 256)
        for distinct in (1, 100, 10_000, 100_000)
    },
}
"""What builds requests of so many spans, and how many spans a request usually has."""
