"""An HTTP API that shares the port of OTLP/HTTP, for clients that know one base URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sidelight.base.auth.guard import Identity
from sidelight.base.http_server import HttpRequest, HttpResponse
from sidelight.otlp.signals import Signal


@dataclass(frozen=True, slots=True)
class HttpApi:
    """Everything below `prefix` is its own.

    POSTs to `otlp_paths` are OTLP/HTTP exports of a signal. `open_paths` need no credentials.
    `answer` serves all other requests; `refuse` answers one without valid credentials, given
    the reason.
    """

    prefix: str
    otlp_paths: Mapping[str, Signal]
    open_paths: frozenset[str]
    answer: Callable[[HttpRequest, Identity | None], HttpResponse]
    refuse: Callable[[str], HttpResponse]
