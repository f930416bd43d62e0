"""The schemas of Kubernetes's own kinds, strict, as `kubernetes-validate` carries them.

The package itself reads two megabytes for each object; here they are read once a version.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

CUSTOM_APIS: Final = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1", "cert-manager.io/v1"}
"""Kinds that are defined in the cluster; their schemas are tested by their own types."""


def faults(objects: Iterable[dict[str, Any]], version: str) -> list[str]:
    """What the API server of a version such as 1.36 would refuse, or drop as unknown."""
    found = []
    for one in objects:
        if one["apiVersion"] in CUSTOM_APIS:
            continue
        place = f"{one['kind']} {one['metadata'].get('name')}"
        validator = _validator(version, one["apiVersion"], one["kind"])
        if validator is None:
            found.append(f"{place}: Kubernetes {version} has no {one['kind']} {one['apiVersion']}")
            continue
        found += [
            f"{place}: {'.'.join(map(str, error.path))}: {error.message}"
            for error in validator.iter_errors(one)
        ]
    return found


@functools.cache
def _validator(version: str, api: str, kind: str) -> Draft202012Validator | None:
    short = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api)
    schema = _read(version, f"{kind.lower()}-{short}.json")
    return None if schema is None else Draft202012Validator(schema, registry=_registry(version))


@functools.cache
def _registry(version: str) -> Registry[Any]:
    definitions = _read(version, "_definitions.json")
    if definitions is None:
        raise ValueError(f"kubernetes-validate knows no Kubernetes {version}; install a newer one")
    empty: Registry[Any] = Registry()
    return Resource.from_contents(definitions) @ empty


def _read(version: str, name: str) -> Any:
    folder = files("kubernetes_validate") / "kubernetes-json-schema"
    file = folder / f"v{version}.0-local-strict" / name
    return json.loads(file.read_text()) if file.is_file() else None
