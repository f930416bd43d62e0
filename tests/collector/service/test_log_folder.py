"""A log folder that cannot be written to, as senders see it."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from support import log_loss
from support.collector import Collector, settings
from support.span_load import EXPORT_TRACES, new_ids, request_of


def test_grpc_is_told_that_it_is_unavailable(tmp_path: Path) -> None:
    """The code on which SDKs try again."""
    log = log_loss.linked(tmp_path / "volume") / "log"
    config = settings(tmp_path, log={"directory": str(log)})
    with Collector(config, tmp_path) as collector:
        log_loss.put_file_in_place_of(log.parent)
        with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}") as channel:
            export = channel.unary_unary(EXPORT_TRACES)
            with pytest.raises(grpc.RpcError) as refusal:
                export(request_of(new_ids(1)))
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        assert collector.get("/readyz")[0] == 503
