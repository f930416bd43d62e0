"""The OTLP resource of a vLLM server: which service and which of its instances sends."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from sidelight import conventions as names
from sidelight.instrumentation.vllm.versions import Versions

# Set by injection into a pod. OpenTelemetry's variable is the pod's own, and other libraries in the
# process read that one as well.
_OF_INJECTION: Final = "SIDELIGHT_RESOURCE_ATTRIBUTES"
_ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
_SERVICE_NAME: Final = "OTEL_SERVICE_NAME"


def make_resource(versions: Versions, environ: Mapping[str, str]) -> dict[str, str]:
    """The attributes of this process, as `environ` says.

    `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and then `SIDELIGHT_RESOURCE_ATTRIBUTES` take
    precedence. Each process has an instance id of its own, because several API servers of one
    deployment report the same cumulative metrics and would otherwise overwrite each other's.
    """
    attributes = {
        names.SERVICE_NAME: "vllm",
        names.SERVICE_VERSION: versions.vllm,
        names.SERVICE_INSTANCE_ID: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
        names.TELEMETRY_SDK_LANGUAGE: "python",
        names.TELEMETRY_SDK_NAME: "sidelight",
        names.TELEMETRY_SDK_VERSION: versions.sidelight,
        **_from_environment(environ),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the variables say, OpenTelemetry's before Sidelight's; skips what is no pair.

    https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable
    """
    pairs = (
        pair.partition("=")
        for variable in (_OF_INJECTION, _ATTRIBUTES)
        for pair in environ.get(variable, "").split(",")
    )
    attributes = {
        key.strip(): unquote(value.strip())
        for key, equals, value in pairs
        if equals and key.strip()
    }
    service_name = environ.get(_SERVICE_NAME, "").strip()
    if service_name:
        attributes[names.SERVICE_NAME] = service_name
    return attributes
