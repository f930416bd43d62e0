"""A real Milvus, the server in Go: what its clients' spans tell, and its own spans below them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from pymilvus import MilvusClient

from sidelight import conventions as names
from support.vectordb.provoke import Provoked
from support.vectordb.record import Outcome, differences
from support.vectordb.servers import Server, milvus_standalone, provoke, run_workload
from support.waiting import eventually

pytestmark = pytest.mark.real("milvus")

# With spans of the server below them.
CALLS = {"insert docs", "search docs", "query docs", "delete docs"}


class _Receiver(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Keeps the spans that a server exports over OTLP/gRPC."""

    def __init__(self) -> None:
        self.parents: set[tuple[str, str]] = set()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            self._export,
            ExportTraceServiceRequest.FromString,
            ExportTraceServiceResponse.SerializeToString,
        )

    def _export(self, request: ExportTraceServiceRequest, _context: object) -> object:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.parents.add((span.trace_id.hex(), span.parent_span_id.hex()))
        return ExportTraceServiceResponse()


@contextmanager
def _receiving() -> Iterator[tuple[_Receiver, int]]:
    receiver = _Receiver()
    endpoint = grpc.server(ThreadPoolExecutor(2))
    endpoint.add_generic_rpc_handlers((receiver,))
    port = endpoint.add_insecure_port("127.0.0.1:0")
    endpoint.start()
    try:
        yield receiver, port
    finally:
        endpoint.stop(5).wait()


@dataclass(frozen=True)
class Asked:
    """What clients of one server told: in a workload, with secrets, and while it was killed."""

    server: Server
    worked: Outcome
    # The calls of the workload, by name, that have spans of the server below them.
    joined: frozenset[str]
    provoked: Provoked
    killed: Outcome


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """One server for all tests, as it takes half a minute to start on a busy machine."""
    with _receiving() as (receiver, port):
        settings = {
            "trace.exporter": "otlp",
            "trace.otlp.endpoint": f"127.0.0.1:{port}",
            "trace.otlp.secure": "false",
            "trace.sampleFraction": 1,
        }
        with milvus_standalone(tmp_path_factory.mktemp("milvus"), settings) as server:
            worked = run_workload("milvus", replace(server, pid=None))
            provoked = provoke("milvus", server)

            def joined() -> frozenset[str]:
                seen = worked.seen
                return frozenset(
                    span.name for span in seen if (span.trace_id, span.span_id) in receiver.parents
                )

            # The server exports every five seconds.
            eventually(lambda: joined() >= CALLS, "Milvus's spans below ours", state=joined)
            with closing(MilvusClient(server.address)) as client:
                for collection in client.list_collections():
                    client.drop_collection(collection)
            killed = run_workload("milvus-async", server)
    return Asked(server, worked, joined(), provoked, killed)


def test_its_spans_join_the_client_s(asked: Asked) -> None:
    """Milvus 2.3.5 takes our header: its own spans are children of the calls that caused them."""
    assert asked.joined >= CALLS
    assert differences(asked.worked, "milvus") == []


def test_spans_and_metrics_are_what_was_called(asked: Asked) -> None:
    """By an async client, also while the server hangs and is killed."""
    assert differences(asked.killed, "milvus") == []
    host, _, port = asked.server.address.removeprefix("http://").rpartition(":")
    addresses = {
        (span.attributes.get(names.SERVER_ADDRESS), span.attributes.get(names.SERVER_PORT))
        for span in asked.killed.seen
    }
    assert addresses == {(host, int(port))}


def test_no_error_tells_what_a_call_was_given(asked: Asked) -> None:
    """Names, texts, events, stack traces and labels; the client's own words are kept."""
    provoked = asked.provoked

    assert provoked.told == ()
    assert not provoked.metrics_tell
    assert provoked.failed > 500
    known = "{title} field should be a varchar"
    assert any(known in message for message in provoked.messages), provoked.messages
