"""Auto-detects a Langfuse by its keys in the environment."""

from __future__ import annotations

import os
from collections.abc import Callable

from pydantic import ValidationError

from sidelight.base.configuration.section import ConfigError
from sidelight.collector.destinations.common.config import DestinationConfig
from sidelight.collector.destinations.langfuse.config import LangfuseDestination

# Those of Langfuse's own SDK, in its order.
_URL_VARIABLES = ("LANGFUSE_BASE_URL", "LANGFUSE_HOST")


def detect(_has_backlog: Callable[[DestinationConfig], bool]) -> LangfuseDestination | None:
    """The Langfuse of the SDK's variables; None unless both keys are set.

    Raises `ConfigError` if the variable of its address is not a URL.
    """
    cloud = LangfuseDestination(type="langfuse")
    # With one key alone nothing could be sent.
    if not (cloud.public_key.read() and cloud.secret_key.read()):
        return None
    for variable in _URL_VARIABLES:
        if url := os.environ.get(variable, "").strip():
            try:
                return LangfuseDestination(type="langfuse", url=url)
            except ValidationError as error:
                problem = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ConfigError(f"environment: {variable}: {problem}") from error
    return cloud
