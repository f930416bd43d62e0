"""Run in Phoenix's environment as a script: Phoenix without its gRPC receiver.

That one always binds every interface and cannot be told otherwise; all we send is HTTP.
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
