"""The OTLP resource of a vLLM server: which service and which of its instances sends."""

from __future__ import annotations

import os
import socket
import uuid
from typing import TYPE_CHECKING, Any

from sidelight import conventions as names

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


def make_resource(version: str | None) -> Resource:
    """The resource of this process. `version` is vLLM's.

    `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` take precedence. Each process has an
    instance id of its own, because several API servers of one deployment report the same
    cumulative metrics and would otherwise overwrite each other's.
    """
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    defaults: dict[str, Any] = {
        names.SERVICE_NAME: "vllm",
        names.SERVICE_INSTANCE_ID: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
    }
    if version:
        defaults[names.SERVICE_VERSION] = version
    return Resource.create({**defaults, **OTELResourceDetector().detect().attributes})
