"""What the owner of an injected pod should know: settings of the pod's own that hide spans."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidelight.injection import names
from sidelight.injection.decision import PodOperation

_ENDPOINTS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_SWITCHES: Final = ("SIDELIGHT_DISABLED", "OTEL_SDK_DISABLED")
# Also within the words of a shell; not `grep -E`.
_ISOLATED: Final = re.compile(r"\bpython[0-9.]*(\s+-\w+)*\s+-[A-Za-z]*[IE][A-Za-z]*(\s|$)")
_TRUE: Final = ("true", "1")
_PLUGINS: Final = "VLLM_PLUGINS"
# vLLM's own image sets no PYTHONPATH; mirrors keep its name.
_KNOWN_IMAGE: Final = "vllm-openai"


def container_of(operations: Iterable[PodOperation], pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """vLLM's container: the one that the operations of an injected pod change."""
    index = next(
        int(operation.path.split("/")[3])
        for operation in operations
        if operation.path.startswith("/spec/containers/")
    )
    container: Mapping[str, Any] = pod["spec"]["containers"][index]
    return container


def notes(container: Mapping[str, Any], pod: Mapping[str, Any]) -> list[str]:
    """A sentence or two for each thing, about a pod and vLLM's container before injection."""
    given = [
        item
        for item in container.get("env") or ()
        if isinstance(item, Mapping) and isinstance(item.get("name"), str)
    ]
    # Of a name that is there twice, the container gets the last.
    variables = {item["name"]: item for item in given}
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return [
        *_of_variables(variables),
        *_of_plugins([item for item in given if item["name"] == _PLUGINS]),
        *_of_words(words),
        *_of_the_image(container, variables, annotations),
        *_of_dns(pod.get("spec") or {}),
    ]


def _of_variables(variables: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for name in _ENDPOINTS:
        if name in variables:
            yield (
                f"{name} is set, so vLLM sends past the sidecar. "
                "Remove it unless a collector of Sidelight is there."
            )
    for name in _SWITCHES:
        if str(variables.get(name, {}).get("value", "")).strip().lower() in _TRUE:
            yield f"{name} switches the instrumentation off. Remove it."


def _of_plugins(given: list[Mapping[str, Any]]) -> Iterable[str]:
    """Of VLLM_PLUGINS, which injection extends only where it is there once, as a value."""
    if not given:
        return
    if "valueFrom" in given[-1]:
        yield (
            f"{_PLUGINS} comes from elsewhere, and vLLM loads only the plugins in it. "
            f"Add {names.PLUGIN} there."
        )
    elif len(given) > 1 and names.PLUGIN not in str(given[-1].get("value", "")).split(","):
        yield (
            f"{_PLUGINS} is set twice and was not changed: vLLM loads only the plugins of the "
            f"last. Set it once, or add {names.PLUGIN} to it."
        )


def _of_words(words: list[str]) -> Iterable[str]:
    if _ISOLATED.search(" ".join(map(str, words))):
        yield "Python ignores PYTHONPATH with -I or -E, so nothing is observed. Remove the option."


def _of_the_image(
    container: Mapping[str, Any],
    variables: Mapping[str, Mapping[str, Any]],
    annotations: Mapping[str, Any],
) -> Iterable[str]:
    image = str(container.get("image", ""))
    if "PYTHONPATH" in variables or names.PYTHON_PATH in annotations or _KNOWN_IMAGE in image:
        return
    yield (
        f"A PYTHONPATH that the image {image or '(not given)'} sets is replaced. "
        f"If it sets one, give its value in the annotation {names.PYTHON_PATH}."
    )


def _of_dns(spec: Mapping[str, Any]) -> Iterable[str]:
    if spec.get("dnsPolicy") == "Default":
        yield (
            "With dnsPolicy Default the pod finds no Service by its name, the gateway included. "
            "Use ClusterFirst, or give injection.endpoint as an address that the node resolves."
        )
