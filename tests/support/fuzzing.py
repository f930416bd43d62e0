"""How many inputs the fuzzing tests try: few in the suite, many where a night is given."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def inputs(short: int, share: float) -> settings:
    """Settings for a fuzzing test: `short` inputs, or its share of SIDELIGHT_FUZZ_INPUTS."""
    wanted = int(os.environ.get("SIDELIGHT_FUZZ_INPUTS", "0"))
    return settings(
        max_examples=max(short, int(wanted * share)),
        deadline=None,
        derandomize=not wanted,
        suppress_health_check=list(HealthCheck),
    )
