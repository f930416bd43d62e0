"""A script for Phoenix's environment: runs Phoenix without its gRPC receiver.

The gRPC receiver listens on all interfaces, which no setting changes. The demo sends HTTP only.
"""

import gc
import sys
from typing import Any

# Before the imports, which create millions of objects: Phoenix starts with a sixth less CPU.
gc.set_threshold(100_000)

from phoenix.server import app  # noqa: E402
from phoenix.server.grpc_server import GrpcServer  # noqa: E402
from phoenix.server.main import main  # noqa: E402


class _NoGrpcServer(GrpcServer):  # type: ignore[misc]
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "disabled": True})


if __name__ == "__main__":
    app.GrpcServer = _NoGrpcServer
    sys.argv[1:] = ["serve"]
    main()
