"""The doctor's check of KV events: pyzmq, the endpoint, and whether vLLM publishes."""

from __future__ import annotations

import re
import socket
from functools import partial
from importlib.util import find_spec
from urllib.parse import urlsplit

from sidelight import conventions
from sidelight.base import ports
from sidelight.base.check import Check, on_thread
from sidelight.base.http_client.client import Answer
from sidelight.collector.receivers.common.type import CheckContext, Look
from sidelight.collector.receivers.kv_events.config import KvEvents, KvEventsSource, of_rank

_KEY = "receivers.kv_events"


def looks(config: KvEvents, context: CheckContext) -> list[Look]:
    """One check for each rank of each source."""
    return [
        (
            of_rank(source.endpoint, rank),
            on_thread(partial(check, source, rank, context)),
        )
        for source in config.sources
        for rank in range(source.ranks)
    ]


def check(source: KvEventsSource, rank: int, context: CheckContext) -> Check:
    """Look at the endpoint of a rank, and ask the running Sidelight who is connected."""
    endpoint = of_rank(source.endpoint, rank)
    name = f"KV events {source.job} {source.shown_instance} rank {rank}"
    if find_spec("zmq") is None:
        return Check(
            name, "fail", "pyzmq is not installed", "Run: pip install 'sidelight[kv-events]'"
        )
    if context.is_running:
        return _connected(name, source, rank, context.exposition)
    if not endpoint.startswith("tcp://"):
        return Check(name, "ok", f"{endpoint}; connections not checked: Sidelight is not running")
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or 0
    if source.listen is not None:
        port_check = ports.check(_KEY, host, port, running=False)
        return Check(name, port_check.status, port_check.found, port_check.advice)
    try:
        socket.create_connection((host, port), context.timeout_seconds).close()
    except OSError:
        return Check(name, "warn", f"nothing listens on {endpoint}", _advice(source, rank))
    return Check(name, "ok", f"{endpoint} accepts connections")


def _connected(name: str, source: KvEventsSource, rank: int, exposition: Answer | None) -> Check:
    if exposition is None:
        return Check(name, "ok", "connections not checked: /metrics of Sidelight is not readable")
    connections = _connections(exposition.body.decode(errors="replace"), source, rank)
    if connections is None:
        return Check(
            name,
            "warn",
            "the running Sidelight does not read it",
            "Restart Sidelight: a reload does not change receivers.kv_events.",
        )
    if not connections:
        return Check(name, "warn", "no publisher is connected", _advice(source, rank))
    return Check(name, "ok", f"{connections} publisher connected")


def _connections(exposition: str, source: KvEventsSource, rank: int) -> int | None:
    metric = conventions.prometheus_name(conventions.KV_CONNECTIONS)
    labels = f'job="{source.job}",instance="{source.shown_instance}",engine="{rank}"'
    series = re.escape(f"{metric}{{{labels}}}")
    sample = re.search(rf"^{series} ([0-9.]+)", exposition, re.MULTILINE)
    return None if sample is None else int(float(sample[1]))


def _advice(source: KvEventsSource, rank: int) -> str:
    # The endpoint of rank 0: vLLM adds the rank itself.
    endpoint = source.endpoint
    if source.listen is None and endpoint.startswith("tcp://"):
        endpoint = f"tcp://*:{endpoint.rpartition(':')[2]}"
    ranks = f" and at least {rank + 1} data-parallel ranks" if rank else ""
    return (
        'Start vLLM with --kv-events-config \'{"enable_kv_cache_events": true, '
        f'"endpoint": "{endpoint}"}}\'{ranks}.'
    )
