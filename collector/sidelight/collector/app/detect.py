"""The destinations of a service that was told of none: what is there without asking."""

from __future__ import annotations

import os
import re

from pydantic import ValidationError

from sidelight.base.configuration.section import ConfigError
from sidelight.base.http_client.transport import NoAnswerError, Transport
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.destinations.langfuse.config import LangfuseDestination
from sidelight.collector.destinations.phoenix import exporter as phoenix
from sidelight.collector.destinations.phoenix.config import PhoenixDestination
from sidelight.collector.destinations.registry import AnyDestination, lane_names
from sidelight.collector.log.log import is_behind
from sidelight.collector.log.shares import folders

PHOENIX_URL = PhoenixDestination(type="phoenix").url
_TIMEOUT_SECONDS = 1.0
_LANGFUSE_URLS = ("LANGFUSE_BASE_URL", "LANGFUSE_HOST")


def destinations(config: Config, local_phoenix: str = PHOENIX_URL) -> tuple[AnyDestination, ...]:
    """The configured destinations or, if the configuration has none, those found.

    Found are a Phoenix that answers at `local_phoenix`, or was found there before and has not
    got everything in the log yet, and a Langfuse whose keys are in the environment, under the
    variables its own SDK reads. Raises `ConfigError` if one of these holds no URL.
    """
    if config.destinations is not None:
        return config.destinations
    found: list[AnyDestination] = []
    local = PhoenixDestination(type="phoenix", url=local_phoenix)
    # Down just now it would otherwise lose what waits for it to retention, unsaid.
    has_backlog = any(
        is_behind(folder, name)
        for folder in folders(config.log.directory)
        for name in lane_names(local)
    )
    if has_backlog or phoenix_version(local_phoenix) is not None:
        found.append(local)
    cloud = LangfuseDestination(type="langfuse")
    if cloud.public_key.read() and cloud.secret_key.read():
        found.append(_langfuse(cloud))
    return tuple(found)


def phoenix_version(url: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> str | None:
    """The version of the Phoenix at `url`, or None if no Phoenix answers there."""
    transport = Transport(url, timeout_seconds)
    try:
        answer = transport.get(phoenix.VERSION_PATH)
    except NoAnswerError:
        return None
    finally:
        transport.close()
    text = answer.body.decode("ascii", "replace").strip()
    return text if answer.status == 200 and re.fullmatch(r"\d+\.\d[\w.+-]{0,40}", text) else None


def _langfuse(cloud: LangfuseDestination) -> LangfuseDestination:
    for variable in _LANGFUSE_URLS:
        if url := os.environ.get(variable, "").strip():
            try:
                return LangfuseDestination(type="langfuse", url=url)
            except ValidationError as error:
                problem = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ConfigError(f"environment: {variable}: {problem}") from error
    return cloud
