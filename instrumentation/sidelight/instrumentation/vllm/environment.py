"""The environment as it was when vLLM loaded the plugin: what its user set.

vLLM writes variables for its own processes later on: with `--otlp-traces-endpoint`, the address
of its own spans goes into `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`. So does any library that vLLM or
the app uses, and none of them means us.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# No others, which may hold secrets.
_PREFIXES: Final = ("OTEL_", "SIDELIGHT_")

AT_START: Final[Mapping[str, str]] = MappingProxyType(
    {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
)
"""Variables of OpenTelemetry and Sidelight."""
