"""An HTTP API on the port of OTLP/HTTP, for clients that use one base URL for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sidelight.base.auth.guard import Identity
from sidelight.base.http_server import HttpRequest, HttpResponse
from sidelight.otlp.signals import Signal


@dataclass(frozen=True, slots=True)
class HttpApi:
    """An API with all paths below `prefix`.

    POSTs to `otlp_paths` are OTLP/HTTP exports of a signal. `open_paths` need no credentials.
    `answer` serves all other requests. `refuse` answers a request without valid credentials;
    its argument is the reason.
    """

    prefix: str
    otlp_paths: Mapping[str, Signal]
    open_paths: frozenset[str]
    answer: Callable[[HttpRequest, Identity | None], HttpResponse]
    refuse: Callable[[str], HttpResponse]
