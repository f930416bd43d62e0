"""The parts of a pod that injection asks for, as expressions."""

from __future__ import annotations

from typing import Final

from sidelight.injection.expressions.collections import Where
from sidelight.injection.expressions.conditions import Every, Less
from sidelight.injection.expressions.nodes import (
    Expression,
    Field,
    Item,
    Literal,
    Name,
    Required,
    Size,
    Variable,
)

MAX_ITEMS: Final = 256
"""Containers of a pod, and variables of a container, that are looked at. CEL cannot count."""

POD: Final = Name("object")
METADATA: Final = Required(POD, "metadata")
LABELS: Final = Field(METADATA, "labels", {})
ANNOTATIONS: Final = Field(METADATA, "annotations", {})
SPEC: Final = Required(POD, "spec")
CONTAINERS: Final = Field(SPEC, "containers", [])
INIT_CONTAINERS: Final = Field(SPEC, "initContainers", [])
EPHEMERAL_CONTAINERS: Final = Field(SPEC, "ephemeralContainers", [])
VOLUMES: Final = Field(SPEC, "volumes", [])
SECURITY_CONTEXT: Final = Field(SPEC, "securityContext", {})
# A namespace has a type in CEL, whose fields cannot be exchanged for an empty map.
NAMESPACE_LABELS: Final = Field(Required(Name("namespaceObject"), "metadata"), "labels", {})

SETTINGS: Final = Variable("settings")
CANDIDATES: Final = Variable("candidates")
"""The indices of the containers that may run vLLM."""
CONTAINER: Final = Variable("container")
"""vLLM's container; empty if there is none."""
ENVIRONMENT: Final = Variable("environment")
"""The variables of vLLM's container."""
PYTHON_PATHS: Final = Variable("pythonPaths")
"""The indices of PYTHONPATH among the variables of vLLM's container."""
PLUGINS: Final = Variable("plugins")
"""The indices of VLLM_PLUGINS among them."""


def setting(name: str) -> Expression:
    """A value of the settings."""
    return Field(SETTINGS, name, [])


def name_of(item: str) -> Expression:
    """The name of the container, volume or variable that a variable holds."""
    return Field(Name(item), "name", "")


def indices(items: Expression, name: str, condition: Expression) -> Expression:
    """The indices of the items for which `condition`, which knows the index as `name`, holds."""
    is_item = Less(Name(name), Size(items))
    return Where(Variable("numbers"), name, Every((is_item, condition)))


def first(items: Expression) -> Expression:
    """The first item of a list."""
    return Item(items, Literal(0))
