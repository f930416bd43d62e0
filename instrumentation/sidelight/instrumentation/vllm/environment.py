"""The environment as it was when vLLM loaded the plugin: what its user set.

vLLM writes variables for its own processes later on: with `--otlp-traces-endpoint`, the address
of its own spans goes into `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. So does any library that vLLM or
the app uses, and none of them means us.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

# No others, which may hold secrets.
_PREFIXES: Final = ("OTEL_", "SIDELIGHT_")

AT_START: Final[Mapping[str, str]] = MappingProxyType(
    {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
)
"""Variables of OpenTelemetry and Sidelight."""

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
"""Where spans and metrics go without a variable: the collector on this machine."""
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104


def is_traced_by_vllm(vllm_config: Any, environ: Mapping[str, str]) -> bool:
    """Whether vLLM sends spans of its own to the host that Sidelight sends to.

    Then both would report the tokens of a request. vLLM's endpoint is that of
    `--otlp-traces-endpoint`; ports are not compared, since gRPC and HTTP have different ones.
    """
    observability = getattr(vllm_config, "observability_config", None)
    theirs = getattr(observability, "otlp_traces_endpoint", None)
    if not isinstance(theirs, str) or not theirs:
        return False
    return _host(theirs) == _host(endpoint(environ))


def endpoint(environ: Mapping[str, str]) -> str:
    """Where `environ` has spans sent to."""
    return next((environ[name] for name in _ENDPOINTS if environ.get(name)), DEFAULT_ENDPOINT)


def _host(endpoint: str) -> str | None:
    try:
        # gRPC's endpoints may have no scheme.
        host = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname
    except ValueError:
        return None
    return "localhost" if host in _LOOPBACK else host
