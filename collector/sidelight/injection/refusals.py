"""When a pod is left alone. On any doubt it runs as before."""

from __future__ import annotations

from typing import Final

from sidelight.injection import names
from sidelight.injection.decision import Reason
from sidelight.injection.expressions.collections import Exists, Joined, Where
from sidelight.injection.expressions.conditions import (
    Contains,
    Equal,
    Every,
    FirstOf,
    If,
    In,
    Less,
    Matches,
    Not,
    Some,
)
from sidelight.injection.expressions.nodes import (
    Expression,
    Field,
    Has,
    Item,
    Literal,
    Name,
    Size,
    Variable,
)
from sidelight.injection.pod import (
    ANNOTATIONS,
    CANDIDATES,
    CONTAINER,
    CONTAINERS,
    ENVIRONMENT,
    EPHEMERAL_CONTAINERS,
    INIT_CONTAINERS,
    LABELS,
    MAX_ITEMS,
    PYTHON_PATHS,
    SPEC,
    VOLUMES,
    first,
    name_of,
    setting,
)

# What receives OTLP listens on the same ports, and rarely declares them. The sidecar would be there
# first, and the other one would fail.
_COLLECTOR_IMAGE: Final = (
    r"(otelcol|otel-collector|opentelemetry-collector|adot-collector|alloy|jaeger)[^/]*$"
)
_LISTENS: Final = r"(0\.0\.0\.0|\[::\]):(4317|4318)\b"
_MIRROR: Final = "kubernetes.io/config.mirror"
_OTLP_PORTS: Final = (4317, 4318)

_OPTED_OUT: Final = If(
    Has(ANNOTATIONS, names.INJECT),
    Equal(Field(ANNOTATIONS, names.INJECT, ""), Literal("false")),
    Equal(Field(LABELS, names.INJECT, ""), Literal("false")),
)
_IS_INJECTED: Final = Some(
    (
        Has(ANNOTATIONS, names.INJECTED),
        Exists(INIT_CONTAINERS, "c", Equal(name_of("c"), Literal(names.SIDECAR))),
    )
)
_HOST_NETWORK: Final = Equal(Field(SPEC, "hostNetwork", False), Literal(True))
_WINDOWS: Final = Some(
    (
        Equal(Field(Field(SPEC, "os", {}), "name", ""), Literal("windows")),
        Equal(Field(Field(SPEC, "nodeSelector", {}), "kubernetes.io/os", ""), Literal("windows")),
    )
)
_SIDECARS: Final = Where(INIT_CONTAINERS, "c", Has(Name("c"), "restartPolicy"))
_ALL_CONTAINERS: Final = Joined((CONTAINERS, INIT_CONTAINERS, EPHEMERAL_CONTAINERS))
_NAME_TAKEN: Final = Some(
    (
        Exists(_ALL_CONTAINERS, "c", In(name_of("c"), Literal([names.SIDECAR, names.COPY]))),
        Exists(VOLUMES, "v", In(name_of("v"), Literal([names.VOLUME, names.DATA_VOLUME]))),
    )
)
_MOUNT_PATH_TAKEN: Final = Exists(
    Field(CONTAINER, "volumeMounts", []),
    "m",
    Matches(Field(Name("m"), "mountPath", ""), "^/+" + names.MOUNT_PATH.strip("/") + "(/|$)"),
)
_SIDECAR_PORTS: Final = setting("ports")
_WORDS: Final = Joined((Field(Name("c"), "command", []), Field(Name("c"), "args", [])))
_PORT_TAKEN: Final = Exists(
    Joined((CONTAINERS, _SIDECARS)),
    "c",
    Some(
        (
            Exists(
                Field(Name("c"), "ports", []),
                "q",
                In(Field(Name("q"), "containerPort", 0), _SIDECAR_PORTS),
            ),
            Every(
                (
                    Some(tuple(In(Literal(port), _SIDECAR_PORTS) for port in _OTLP_PORTS)),
                    Some(
                        (
                            Matches(Field(Name("c"), "image", ""), _COLLECTOR_IMAGE),
                            Exists(_WORDS, "w", Matches(Name("w"), _LISTENS)),
                        )
                    ),
                )
            ),
        )
    ),
)
_PYTHON_PATH_SOURCE: Final = Field(Item(ENVIRONMENT, first(PYTHON_PATHS)), "valueFrom", {})
_SOURCES: Final = ("configMapKeyRef", "secretKeyRef", "fileKeyRef")
_PYTHON_PATH_UNKNOWN: Final = Some(
    (
        Less(Literal(1), Size(PYTHON_PATHS)),
        Every(
            (
                Equal(Size(PYTHON_PATHS), Literal(1)),
                Some(
                    tuple(
                        Equal(
                            Field(Field(_PYTHON_PATH_SOURCE, source, {}), "optional", False),
                            Literal(True),
                        )
                        for source in _SOURCES
                    )
                ),
            )
        ),
        Exists(ENVIRONMENT, "e", Equal(name_of("e"), Literal(names.OWN_PYTHON_PATH))),
    )
)
_IMAGE_PYTHON_PATH: Final = Every(
    (
        Equal(Size(PYTHON_PATHS), Literal(0)),
        Not(Has(ANNOTATIONS, names.PYTHON_PATH)),
        Exists(
            setting("images_with_python_path"),
            "n",
            Contains(Field(CONTAINER, "image", ""), Name("n")),
        ),
    )
)

OF_THE_POD: Final[dict[Reason, Expression]] = {
    Reason.OPTED_OUT: _OPTED_OUT,
    Reason.ALREADY_INJECTED: _IS_INJECTED,
    Reason.HOST_NETWORK: _HOST_NETWORK,
    Reason.WINDOWS: _WINDOWS,
    Reason.STATIC_POD: Has(ANNOTATIONS, _MIRROR),
}
"""What the pod alone says. The API server asks this before anything else."""

REFUSALS: Final[dict[Reason, Expression]] = {
    Reason.OPTED_OUT: _OPTED_OUT,
    Reason.NOT_ASKED: Not(Equal(Variable("choice"), Literal("true"))),
    **OF_THE_POD,
    Reason.TOO_LARGE: Some(
        (
            Less(Literal(MAX_ITEMS), Size(CONTAINERS)),
            Less(Literal(MAX_ITEMS), Size(ENVIRONMENT)),
        )
    ),
    Reason.NO_SUCH_CONTAINER: Every(
        (Has(ANNOTATIONS, names.CONTAINER), Equal(Size(CANDIDATES), Literal(0)))
    ),
    Reason.NO_VLLM_CONTAINER: Equal(Size(CANDIDATES), Literal(0)),
    Reason.SEVERAL_CONTAINERS: Less(Literal(1), Size(CANDIDATES)),
    Reason.NAME_TAKEN: _NAME_TAKEN,
    Reason.MOUNT_PATH_TAKEN: _MOUNT_PATH_TAKEN,
    Reason.PORT_TAKEN: _PORT_TAKEN,
    Reason.PYTHON_PATH_UNKNOWN: _PYTHON_PATH_UNKNOWN,
    Reason.IMAGE_PYTHON_PATH: _IMAGE_PYTHON_PATH,
}
"""The first that holds is the reason."""


def reason() -> Expression:
    """The value of the `Reason`: the first refusal that holds, or `INJECTED`."""
    cases = tuple((condition, refusal.value) for refusal, condition in REFUSALS.items())
    return FirstOf(cases, Reason.INJECTED.value)
