"""What is changed in a pod, as the operations of a JSON patch."""

from __future__ import annotations

from typing import Final

from sidelight.injection import names
from sidelight.injection.expressions.collections import (
    Each,
    Exists,
    Joined,
    ListOf,
    ObjectOf,
    PatchOperation,
    When,
    Where,
)
from sidelight.injection.expressions.conditions import Contains, Equal, Every, If, Less, Not
from sidelight.injection.expressions.nodes import (
    Expression,
    Field,
    Has,
    Item,
    Literal,
    Name,
    Size,
    Text,
    Variable,
)
from sidelight.injection.pod import (
    ANNOTATIONS,
    CANDIDATES,
    CONTAINER,
    CONTAINERS,
    ENVIRONMENT,
    INIT_CONTAINERS,
    METADATA,
    PLUGINS,
    PYTHON_PATHS,
    SECURITY_CONTEXT,
    SETTINGS,
    SPEC,
    first,
    indices,
    name_of,
    setting,
)

_ONE: Final = Literal(1)
_NOTHING: Final = Literal(0)

_STORAGE: Final = "ephemeral-storage"

_COPIES: Final = Equal(Field(SETTINGS, "volume", "copy"), Literal("copy"))
_PLACE: Final = Variable("place")
"""Where the first injected init container goes."""
_SIDECAR_PLACE: Final = If(_COPIES, Joined((_PLACE, _ONE)), _PLACE)

_LIMITS_STORAGE: Final = Variable("limitsStorage")
"""Whether the pod limits its ephemeral storage, container by container.

The kubelet evicts a pod that uses more than the sum of these limits, and injected containers use
some of it. In a pod that has none, a limit of theirs would be the limit of all.
"""


def _storage_of(container: Expression) -> Expression:
    """What a container of the settings requests of it; empty if it takes no limit."""
    resources = Field(container, "resources", {})
    requested = Field(Field(resources, "requests", {}), _STORAGE, "")
    return If(Has(resources, "limits"), requested, Literal(""))


VARIABLES: Final[dict[str, Expression]] = {
    "environment": Field(CONTAINER, "env", []),
    "pythonPaths": indices(
        ENVIRONMENT,
        "i",
        Equal(Field(Item(ENVIRONMENT, Name("i")), "name", ""), Literal("PYTHONPATH")),
    ),
    "plugins": indices(
        ENVIRONMENT,
        "i",
        Equal(Field(Item(ENVIRONMENT, Name("i")), "name", ""), Literal("VLLM_PLUGINS")),
    ),
    "place": If(
        Equal(Field(ANNOTATIONS, names.SIDECAR_FIRST, ""), Literal("true")),
        _NOTHING,
        Size(INIT_CONTAINERS),
    ),
    "limitsStorage": Every(
        (
            Not(Has(SPEC, "resources")),
            Exists(
                Joined((CONTAINERS, INIT_CONTAINERS)),
                "c",
                Has(Field(Field(Name("c"), "resources", {}), "limits", {}), _STORAGE),
            ),
        )
    ),
    "copyStorage": _storage_of(setting("copy")),
    "sidecarStorage": _storage_of(setting("sidecar")),
}
"""In the order in which they use each other; they use those of the selection."""


def _add(path: Expression, value: Expression) -> PatchOperation:
    return PatchOperation("add", path, value)


def _path(*parts: str | Expression) -> Expression:
    texts = tuple(Literal(part) if isinstance(part, str) else Text(part) for part in parts)
    return texts[0] if len(texts) == 1 else Joined(texts)


def _missing_list(of: Expression, name: str, path: Expression) -> Expression:
    """An empty list, where an object has none: a patch appends only to what is there."""
    return When(Not(Has(of, name)), ListOf((_add(path, Literal([])),)))


def _volumes() -> list[Expression]:
    at_end = Literal("/spec/volumes/-")
    volumes = setting("volumes")
    instrumentation = If(_COPIES, Field(volumes, "copy", {}), Field(volumes, "image", {}))
    return [
        _missing_list(SPEC, "volumes", Literal("/spec/volumes")),
        ListOf((_add(at_end, instrumentation), _add(at_end, Field(volumes, "data", {})))),
    ]


def _init_containers() -> list[Expression]:
    path = _path("/spec/initContainers/", _PLACE)
    return [
        _missing_list(SPEC, "initContainers", Literal("/spec/initContainers")),
        When(_COPIES, ListOf((_add(path, setting("copy")),))),
        ListOf((_add(_path("/spec/initContainers/", _SIDECAR_PLACE), setting("sidecar")),)),
        *_fit(_COPIES, _PLACE, setting("copy"), Variable("copyStorage")),
        *_fit(Literal(True), _SIDECAR_PLACE, setting("sidecar"), Variable("sidecarStorage")),
    ]


def _fit(
    condition: Expression, place: Expression, container: Expression, storage: Expression
) -> list[Expression]:
    """What an injected container needs to be valid in this pod."""
    security_context = Field(container, "securityContext", {})
    runs_as_root = Every(
        (
            condition,
            # The kubelet starts no container that must not be root and inherits root.
            Equal(Field(SECURITY_CONTEXT, "runAsUser", -1), _NOTHING),
            Has(container, "securityContext"),
            Not(Has(security_context, "runAsUser")),
        )
    )
    user = _path("/spec/initContainers/", place, "/securityContext/runAsUser")
    # Requests of containers must not exceed the pod's own, which were chosen without ours.
    has_resources = Every((condition, Has(SPEC, "resources")))
    resources = _path("/spec/initContainers/", place, "/resources")
    shares_storage = Every((condition, _LIMITS_STORAGE, Not(Equal(storage, Literal("")))))
    storage_limit = _path("/spec/initContainers/", place, f"/resources/limits/{_STORAGE}")
    return [
        When(runs_as_root, ListOf((_add(user, Literal(names.UNPRIVILEGED_USER)),))),
        When(has_resources, ListOf((_add(resources, Literal({})),))),
        When(shares_storage, ListOf((_add(storage_limit, storage),))),
    ]


def _environment() -> list[Expression]:
    variables = ("/spec/containers/", first(CANDIDATES), "/env")
    at_end = _path(*variables, "/-")
    name = _variable(names.CONTAINER_NAME, Field(CONTAINER, "name", ""))
    has_name = Exists(ENVIRONMENT, "x", Equal(name_of("x"), Literal(names.CONTAINER_NAME)))
    is_set = Exists(ENVIRONMENT, "x", Equal(name_of("x"), name_of("e")))
    added = Where(setting("environment"), "e", Not(is_set))
    return [
        _missing_list(CONTAINER, "env", _path(*variables)),
        When(Not(has_name), ListOf((_add(at_end, name),))),
        Each(added, "e", _add(at_end, Name("e"))),
        *_plugins(variables),
        *_python_path(variables),
    ]


def _variable(name: str, value: Expression) -> Expression:
    return ObjectOf({"name": Literal(name), "value": value})


def _plugins(variables: tuple[str | Expression, ...]) -> list[Expression]:
    """vLLM loads only the plugins in VLLM_PLUGINS, if that is set."""
    index = first(PLUGINS)
    value = Field(Item(ENVIRONMENT, index), "value", "")
    listed = Contains(Joined((Literal(","), value, Literal(","))), Literal(f",{names.PLUGIN},"))
    is_value = Every(
        (
            Equal(Size(PLUGINS), _ONE),
            Not(Has(Item(ENVIRONMENT, index), "valueFrom")),
            Not(listed),
        )
    )
    extended = If(
        Equal(value, Literal("")),
        Literal(names.PLUGIN),
        Joined((value, Literal(f",{names.PLUGIN}"))),
    )
    return [When(is_value, ListOf((_add(_path(*variables, "/", index, "/value"), extended),)))]


def _python_path(variables: tuple[str | Expression, ...]) -> list[Expression]:
    """PYTHONPATH with ours at its end, so that the pod's own modules are found first."""
    index = first(PYTHON_PATHS)
    own = Item(ENVIRONMENT, index)
    is_set = Less(_NOTHING, Size(PYTHON_PATHS))
    is_source = Every((is_set, Has(own, "valueFrom")))
    # The kubelet expands a reference to a variable that comes before.
    reference = Literal(f"$({names.OWN_PYTHON_PATH}):{names.PATH}")
    source = ObjectOf(
        {"name": Literal(names.OWN_PYTHON_PATH), "valueFrom": Field(own, "valueFrom", {})}
    )
    given = Field(ANNOTATIONS, names.PYTHON_PATH, "")
    # Variables of envFrom come before those of env. Without one of this name, the reference stays
    # as it is, and Python ignores a folder that does not exist.
    unseen = If(
        Less(_NOTHING, Size(Field(CONTAINER, "envFrom", []))),
        Literal(f"$(PYTHONPATH):{names.PATH}"),
        Literal(names.PATH),
    )
    return [
        When(
            is_source,
            ListOf(
                (
                    PatchOperation(
                        "replace",
                        _path(*variables, "/", index),
                        _variable("PYTHONPATH", reference),
                    ),
                    _add(_path(*variables, "/", index), source),
                )
            ),
        ),
        When(
            Every((is_set, Not(Has(own, "valueFrom")))),
            ListOf(
                (
                    _add(
                        _path(*variables, "/", index, "/value"),
                        _after(Field(own, "value", ""), Literal(names.PATH)),
                    ),
                )
            ),
        ),
        When(
            Not(is_set),
            ListOf(
                (
                    _add(
                        _path(*variables, "/-"),
                        _variable("PYTHONPATH", _after(given, unseen)),
                    ),
                )
            ),
        ),
    ]


def _after(folders: Expression, otherwise: Expression) -> Expression:
    """Our folder after others; `otherwise` if there are none.

    An empty entry would be the working directory to Python.
    """
    return If(Equal(folders, Literal("")), otherwise, Joined((folders, Literal(f":{names.PATH}"))))


def _mounts() -> list[Expression]:
    mounts = ("/spec/containers/", first(CANDIDATES), "/volumeMounts")
    # Read-only: Python would write byte-code into it, which a copy for several users must not have.
    mount = {"name": names.VOLUME, "mountPath": names.MOUNT_PATH, "readOnly": True}
    return [
        _missing_list(CONTAINER, "volumeMounts", _path(*mounts)),
        ListOf((_add(_path(*mounts, "/-"), Literal(mount)),)),
    ]


def _stamp() -> list[Expression]:
    escaped = names.INJECTED.replace("/", "~1")
    return [
        When(
            Not(Has(METADATA, "annotations")),
            ListOf((_add(Literal("/metadata/annotations"), Literal({})),)),
        ),
        ListOf(
            (_add(Literal(f"/metadata/annotations/{escaped}"), Field(SETTINGS, "version", "")),)
        ),
    ]


def operations() -> Expression:
    """The operations for a pod that is to be injected."""
    # In groups: each item of a list makes what a compiler of CEL reads one level deeper.
    groups = (_volumes(), _init_containers(), _environment(), _mounts(), _stamp())
    return Joined(tuple(Joined(tuple(group)) for group in groups))
