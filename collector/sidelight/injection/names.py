"""The names that injection puts on pods, and looks for there."""

from __future__ import annotations

from typing import Final

INJECT: Final = "sidelight.dev/inject"
"""Label of namespaces and pods, and annotation of pods: `"true"` asks, `"false"` opts out."""
CONTAINER: Final = "sidelight.dev/container"
"""Annotation: which container runs vLLM."""
PYTHON_PATH: Final = "sidelight.dev/python-path"
"""Annotation: the PYTHONPATH that the image sets, which an injector cannot see."""
SIDECAR_FIRST: Final = "sidelight.dev/sidecar-first"
"""Annotation: `"true"` starts the sidecar before the pod's own init containers."""
INJECTED: Final = "sidelight.dev/injected"
"""Annotation that marks an injected pod: the version of Sidelight."""

SIDECAR: Final = "sidelight"
"""The container of the collector, and the volume with the instrumentation."""
VOLUME: Final = "sidelight"
DATA_VOLUME: Final = "sidelight-data"
"""The volume of the sidecar's log."""
COPY: Final = "sidelight-copy"
"""The init container that fills the volume where there are no image volumes."""
MOUNT_PATH: Final = "/sidelight"
"""Where vLLM's container has the instrumentation."""
PATH: Final = "/sidelight/path"
"""What is put on PYTHONPATH."""
PLUGIN: Final = "sidelight"
"""The name of the plugin in VLLM_PLUGINS."""
UNPRIVILEGED_USER: Final = 65532
"""The user of both images, for pods that otherwise run as root."""
OWN_PYTHON_PATH: Final = "SIDELIGHT_PYTHON_PATH"
"""Holds the pod's own PYTHONPATH, if that comes from elsewhere than the manifest."""
CONTAINER_NAME: Final = "SIDELIGHT_CONTAINER_NAME"
"""The name of vLLM's container, which the downward API does not know."""
