"""What injection decides about a pod: the patch, and the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from sidelight.injection import names


class Reason(StrEnum):
    """Why a pod is injected or not. The values are labels of metrics."""

    INJECTED = "injected"
    OPTED_OUT = "opted_out"
    NOT_ASKED = "not_asked"
    ALREADY_INJECTED = "already_injected"
    HOST_NETWORK = "host_network"
    WINDOWS = "windows"
    STATIC_POD = "static_pod"
    NO_SUCH_CONTAINER = "no_such_container"
    NO_VLLM_CONTAINER = "no_vllm_container"
    SEVERAL_CONTAINERS = "several_containers"
    NAME_TAKEN = "name_taken"
    MOUNT_PATH_TAKEN = "mount_path_taken"
    PORT_TAKEN = "port_taken"
    PYTHON_PATH_UNKNOWN = "python_path_unknown"
    IMAGE_PYTHON_PATH = "image_python_path"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"

    @property
    def sentence(self) -> str:
        """The reason in one or two sentences; the last one says what to do."""
        return _SENTENCES[self]

    @property
    def is_in_vain(self) -> bool:
        """Whether injection was asked for and cannot be done."""
        return self not in (
            Reason.INJECTED,
            Reason.OPTED_OUT,
            Reason.NOT_ASKED,
            Reason.ALREADY_INJECTED,
        )


_SENTENCES: Mapping[Reason, str] = {
    Reason.INJECTED: "The pod gets the sidecar and the instrumentation.",
    Reason.OPTED_OUT: f'The pod has {names.INJECT}: "false". Remove it to inject the pod.',
    Reason.NOT_ASKED: "Neither the pod nor its namespace asks for injection. "
    f'Label one of them {names.INJECT}: "true".',
    Reason.ALREADY_INJECTED: "The pod is injected already. Nothing is to be done.",
    Reason.HOST_NETWORK: "The pod uses the network of its node, where the sidecar's ports may be "
    "taken. Install Sidelight in the image, or do without hostNetwork.",
    Reason.WINDOWS: "The pod runs on Windows. Use a Linux node.",
    Reason.STATIC_POD: "The kubelet runs this pod from a file of its node. "
    "Run `sidelight inject` on that file.",
    Reason.NO_SUCH_CONTAINER: f"No container has the name in the annotation {names.CONTAINER}. "
    "Correct the annotation.",
    Reason.NO_VLLM_CONTAINER: "No container runs vLLM by its image, command or args. "
    f"Name it in the annotation {names.CONTAINER}.",
    Reason.SEVERAL_CONTAINERS: "Several containers may run vLLM. "
    f"Name one of them in the annotation {names.CONTAINER}.",
    Reason.NAME_TAKEN: f"A container or volume of the pod is called {names.SIDECAR}, {names.COPY} "
    f"or {names.DATA_VOLUME}. Give it another name.",
    Reason.MOUNT_PATH_TAKEN: f"vLLM's container mounts a volume at {names.MOUNT_PATH}. "
    "Mount it elsewhere.",
    Reason.PORT_TAKEN: "A container of the pod uses a port of the sidecar. "
    "Give one of them another port.",
    Reason.PYTHON_PATH_UNKNOWN: "PYTHONPATH of vLLM's container is set twice, or comes from a "
    "source that may be missing. Set it once, as a value.",
    Reason.IMAGE_PYTHON_PATH: "Images of this name set PYTHONPATH, which would be replaced. "
    f"Give its value in the annotation {names.PYTHON_PATH}.",
    Reason.TOO_LARGE: "The pod has more than 256 containers, or vLLM's container more than 256 "
    "variables. Reduce them.",
    Reason.UNREADABLE: "This is not a pod as Kubernetes defines it. Correct the manifest.",
}


@dataclass(frozen=True, slots=True)
class PodOperation:
    """One operation of a JSON patch (RFC 6902)."""

    op: Literal["add", "replace"]
    path: str
    value: Any

    def as_json(self) -> dict[str, Any]:
        """The operation as an item of the patch."""
        return {"op": self.op, "path": self.path, "value": self.value}


@dataclass(frozen=True, slots=True)
class PodDecision:
    """What is to be done with a pod."""

    operations: tuple[PodOperation, ...]
    """Empty unless the reason is `INJECTED`."""
    reason: Reason
