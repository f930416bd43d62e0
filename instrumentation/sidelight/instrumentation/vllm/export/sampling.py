"""Which traces are recorded, as OpenTelemetry's `OTEL_TRACES_SAMPLER` says.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.trace_context import RemoteParent

SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"
_DEFAULT: Final = "parentbased_always_on"
_PARENT_BASED: Final = "parentbased_"
_RATIO: Final = "traceidratio"
_ROOTS: Final = ("always_on", "always_off", _RATIO)
# The ratio is that of the lower half of the trace id, so that all services decide alike.
_LOWER_HALF: Final = 2**64


@dataclass(frozen=True, slots=True)
class HeadSampler:
    """Decides by the share of trace ids that are recorded, and perhaps by the caller's decision."""

    ratio: float = 1.0
    follows_parent: bool = True

    def samples(self, trace_id: int, parent: RemoteParent | None) -> bool:
        """Whether the trace is recorded."""
        if parent is not None and self.follows_parent:
            return parent.sampled
        return trace_id % _LOWER_HALF < round(self.ratio * _LOWER_HALF)


def make_sampler(environ: Mapping[str, str]) -> HeadSampler:
    """The sampler that `environ` names. A wrong value costs a warning, and the default is used."""
    name = environ.get(SAMPLER, "").strip().lower() or _DEFAULT
    root = name.removeprefix(_PARENT_BASED)
    if root not in _ROOTS:
        logger.warning(
            "Sidelight: %s is not a sampler of OpenTelemetry; using %s. Set it to always_on, "
            "always_off or traceidratio, with or without parentbased_ before it.",
            SAMPLER, _DEFAULT,
        )  # fmt: skip
        return HeadSampler()
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(root)
    return HeadSampler(_ratio(environ) if ratio is None else ratio, name.startswith(_PARENT_BASED))


def _ratio(environ: Mapping[str, str]) -> float:
    argument = environ.get(SAMPLER_ARGUMENT, "").strip()
    if not argument:
        return 1.0
    try:
        ratio = float(argument)
    except ValueError:
        ratio = -1.0
    # NaN fails the comparison too.
    if not 0.0 <= ratio <= 1.0:
        logger.warning(
            "Sidelight: %s is not a number from 0 to 1; using 1. Set it to the share of traces to "
            "record.", SAMPLER_ARGUMENT,
        )  # fmt: skip
        return 1.0
    return ratio
