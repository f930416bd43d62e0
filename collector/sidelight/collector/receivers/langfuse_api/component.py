"""Langfuse's API as a type of receiver: it adds paths to the OTLP/HTTP port."""

from __future__ import annotations

from pathlib import Path

from sidelight.collector.receivers.common.http_api import HttpApi
from sidelight.collector.receivers.common.type import ReceiverType
from sidelight.collector.receivers.langfuse_api.api import (
    HEALTH_PATH,
    OTLP_PATHS,
    PREFIX,
    answer,
    refusal,
)
from sidelight.collector.receivers.langfuse_api.check import looks
from sidelight.collector.receivers.langfuse_api.config import LangfuseApi
from sidelight.collector.receivers.langfuse_api.credentials import credentials

LANGFUSE_API = ReceiverType(
    name="langfuse_api",
    title="Langfuse API",
    Config=LangfuseApi,
    signals=lambda _: ("traces", "metrics"),
    looks=looks,
    credentials=credentials,
    http_api=HttpApi(PREFIX, OTLP_PATHS, frozenset({HEALTH_PATH}), answer, refusal),
    page=Path(__file__).with_name("page.md"),
)
