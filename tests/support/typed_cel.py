"""CEL as an API server compiles it: with types, and with the type of JSON patches.

Google's implementation in C++; an API server uses the one in Go, with the same rules of types.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field


@cache
def _types() -> descriptor_pool.DescriptorPool:
    """JSONPatch, whose value is of any type, and a namespace, which the API server declares.

    https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/admission/plugin/cel/compile.go
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="kubernetes.proto", syntax="proto3", dependency=["google/protobuf/struct.proto"]
    )
    patch = file.message_type.add(name="JSONPatch")
    _add(patch, "op")
    _add(patch, "path")
    _add(patch, "value", ".google.protobuf.Value")
    namespace = file.message_type.add(name="Namespace")
    _add(namespace, "metadata", ".NamespaceMetadata")
    metadata = file.message_type.add(name="NamespaceMetadata")
    _add(metadata, "name")
    # As protobuf writes a map of texts.
    entry = metadata.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    _add(entry, "key")
    _add(entry, "value")
    _add(metadata, "labels", ".NamespaceMetadata.LabelsEntry").label = Field.LABEL_REPEATED
    values = descriptor_pb2.FileDescriptorProto()
    struct_pb2.DESCRIPTOR.CopyToProto(values)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(values)
    pool.Add(file)
    return pool


def _add(message: descriptor_pb2.DescriptorProto, name: str, of: str | None = None) -> Field:
    """Add a text, or a message of the type `of`."""
    return message.field.add(
        name=name,
        number=len(message.field) + 1,
        type=Field.TYPE_STRING if of is None else Field.TYPE_MESSAGE,
        type_name=of,
        label=Field.LABEL_OPTIONAL,
    )


def type_of(expression: str, variables: dict[str, Any]) -> Any:
    """The type of an expression. Raises `RuntimeError` where an API server refuses it."""
    return cel.NewEnv(_types(), variables=variables).compile(expression).return_type()


def types_of_policy(policy: dict[str, Any]) -> dict[str, str]:
    """The types of all expressions of a policy, by name; `mutation` is that of its patch."""
    spec = policy["spec"]
    of_the_server = {"object": cel.Type.DYN, "namespaceObject": cel.Type("Namespace")}
    types = {
        condition["name"]: type_of(condition["expression"], {"object": cel.Type.DYN})
        for condition in spec["matchConditions"]
    }
    declared = dict(of_the_server)
    for variable in spec["variables"]:
        kind = type_of(variable["expression"], declared)
        types[variable["name"]] = kind
        declared[f"variables.{variable['name']}"] = kind
    [mutation] = spec["mutations"]
    types["mutation"] = type_of(mutation["jsonPatch"]["expression"], declared)
    return {name: kind.name() for name, kind in types.items()}
