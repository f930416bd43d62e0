"""Pods with something wrong in them: no exception, and no patch that does not fit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.injection.manifests.injecting import inject_document
from sidelight.injection.manifests.reading import documents
from sidelight.injection.mutation import inject
from sidelight.injection.patch import apply
from support.golden_manifests import MANIFESTS
from support.injection_settings import default_settings
from support.pods import pods_of

OBJECTS = [
    item for path in MANIFESTS for item in yaml.safe_load_all(path.read_text()) if item is not None
]
WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, 1.5, True, "", "x", [], {}, [None], [[]], [{}], {"a": None}, {"name": 1}, 10**30]
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys and indices that lead to each part of an object."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*place, key)
        if isinstance(item, dict | list):
            yield from places(item, (*place, key))


@st.composite
def malformed(draw: st.DrawFn) -> dict[str, Any]:
    """An object with one or two parts replaced."""
    broken: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(OBJECTS)))
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(list(places(broken))))
        target: Any = broken
        for key in above:
            target = target[key]
        target[last] = draw(WRONG)
    return broken


@given(malformed(), st.sampled_from([None, True, False]), st.sampled_from([None, "server"]))
@settings(max_examples=60, deadline=None)
def test_anything(broken: dict[str, Any], flow: bool | None, container: str | None) -> None:
    """As a pod that an API server sends, and as a manifest."""
    for pod in pods_of(broken):
        labels = {"sidelight.dev/inject": "true"}
        decision = inject(pod, default_settings(), namespace_labels=labels)
        apply(pod, decision.operations)
    text = yaml.safe_dump(broken, default_flow_style=flow)
    for document in documents(text, "x"):
        inject_document(document, default_settings(), container)
