"""A script for Phoenix's environment: runs Phoenix without its gRPC receiver.

The gRPC receiver listens on all interfaces, which no setting changes. The demo sends HTTP only.
"""

import sys
from typing import Any

from phoenix.server import app
from phoenix.server.grpc_server import GrpcServer
from phoenix.server.main import main


class _NoGrpcServer(GrpcServer):  # type: ignore[misc]
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "disabled": True})


if __name__ == "__main__":
    app.GrpcServer = _NoGrpcServer
    sys.argv[1:] = ["serve"]
    main()
