"""A stand-in for a Qdrant server, over REST and gRPC, that answers from a real local-mode client.

There is no Qdrant server package to install. What a client sends is parsed by qdrant-client's
own models, answered by its local mode, and sent back in the server's envelope, with a `time`
and a `usage`, and with the server's status codes. Prints its two ports as one line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer

import grpc
from qdrant_client.grpc import (
    collections_service_pb2_grpc,
    points_service_pb2_grpc,
    snapshots_service_pb2_grpc,
)

from support.vectordb.qdrant_local import LocalQdrant
from support.vectordb.qdrant_rest import Rest
from support.vectordb.qdrant_servicers import Collections, Points, Snapshots


def main() -> None:
    """Serves until killed."""
    database = LocalQdrant()
    Rest.database = database
    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    rest.daemon_threads = True
    server = grpc.server(ThreadPoolExecutor(4))
    add_points: Callable[..., None] = points_service_pb2_grpc.add_PointsServicer_to_server
    add_collections: Callable[..., None] = (
        collections_service_pb2_grpc.add_CollectionsServicer_to_server
    )
    add_points(Points(database), server)
    add_collections(Collections(database), server)
    add_snapshots: Callable[..., None] = snapshots_service_pb2_grpc.add_SnapshotsServicer_to_server
    add_snapshots(Snapshots(), server)
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(json.dumps({"rest": rest.server_port, "grpc": grpc_port}) + "\n")
    sys.stdout.flush()
    rest.serve_forever()


if __name__ == "__main__":
    main()
