"""The Milvus server gets the client's trace, in a form that old servers take."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry import trace
from pymilvus import AsyncMilvusClient, MilvusClient

from sidelight.instrumentation.vectordb.milvus.propagation import traceparent
from support.vectordb.milvus_lite import Observe, vector

Seen = list[tuple[str, dict[str, str]]]


class _Relay(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Passes every call on to a server as bytes and keeps its metadata."""

    def __init__(self, server: str, seen: Seen) -> None:
        self._channel = grpc.insecure_channel(server)
        self._seen = seen

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        self._seen.append((method.rpartition("/")[2], dict(details.invocation_metadata)))
        forward = self._channel.unary_unary(method)
        return grpc.unary_unary_rpc_method_handler(lambda request, _context: forward(request))


@pytest.fixture
def relay(lite: MilvusClient) -> Iterator[tuple[str, Seen]]:
    """An address in front of Milvus Lite, and the metadata of what went through it."""
    seen: Seen = []
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((_Relay(lite._get_connection().server_address, seen),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", seen
    server.stop(None).wait()


def sent(seen: Seen, method: str) -> str | None:
    """The `traceparent` of the one request to `method`."""
    (metadata,) = [metadata for name, metadata in seen if name == method]
    return metadata.get("traceparent")


async def test_requests_carry_the_span_of_their_own_call(
    relay: tuple[str, Seen], observe: Observe
) -> None:
    """Server spans become children of the search, for the sync and the async client."""
    uri, seen = relay
    recording = observe()
    client = MilvusClient(uri)
    asynchronous = AsyncMilvusClient(uri)

    client.search("docs", data=[vector(1)])
    await asynchronous.query("docs", filter="id < 2")
    client.close()
    await asynchronous.close()

    for method, name in (("Search", "search docs"), ("Query", "query docs")):
        span = recording.span(name).get_span_context()
        assert span is not None
        assert sent(seen, method) == f"00-{span.trace_id:032x}-{span.span_id:016x}-01"


def test_requests_carry_nothing_once_uninstrumented(
    relay: tuple[str, Seen], observe: Observe
) -> None:
    """Without instrumentation no header is sent."""
    uri, seen = relay

    client = MilvusClient(uri)
    client.search("docs", data=[vector(1)])
    client.close()

    assert sent(seen, "Search") is None


@pytest.mark.parametrize(("flags", "shown"), [(0x03, "01"), (0x01, "01"), (0x02, "00"), (0, "00")])
def test_only_the_sampled_flag_is_sent(flags: int, shown: str) -> None:
    """Milvus 2.3.5 drops a header with any flag but `sampled`; SDK 1.45 sets another one."""
    span = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(flags))

    assert traceparent(span) == f"00-{0xABC:032x}-{0xDEF:016x}-{shown}"
