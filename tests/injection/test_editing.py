"""Editing keeps the form of a document, and says the same as the patch."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.injection.decision import PodOperation
from sidelight.injection.manifests.editing import edited, folded
from sidelight.injection.manifests.injecting import inject_document
from sidelight.injection.manifests.reading import documents, parse
from sidelight.injection.patch import PatchError, apply
from support.any_pods import PODS
from support.injection_settings import default_settings

MOUNT = {"name": "m", "mountPath": "/m"}


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("a:\n- x\n# end\n", "/a/-", "a:\n- x\n- name: m\n  mountPath: /m\n# end\n"),
        (
            "a:\n  - x  # x\nb: 1\n",
            "/a/-",
            "a:\n  - x  # x\n  - name: m\n    mountPath: /m\nb: 1\n",
        ),
        ("a:\n  # x\n  - x\n", "/a/0", "a:\n  - name: m\n    mountPath: /m\n  # x\n  - x\n"),
        ("a: []", "/a/-", 'a: [{"name": "m", "mountPath": "/m"}]'),
        ("a: [x, ] # c\n", "/a/-", 'a: [x, {"name": "m", "mountPath": "/m"}, ] # c\n'),
        ("a: [x]\n", "/a/0", 'a: [{"name": "m", "mountPath": "/m"}, x]\n'),
        ("a: {b: c}\n", "/a/d", 'a: {b: c, "d": {"name": "m", "mountPath": "/m"}}\n'),
        ("a:\nb: 1\n", "/a", "a:\n  name: m\n  mountPath: /m\nb: 1\n"),
        ("a: null\n", "/a", 'a: {"name": "m", "mountPath": "/m"}\n'),
        ("a: |\n  x\n\nb: y\n", "/c", "a: |\n  x\n\nb: y\nc:\n  name: m\n  mountPath: /m\n"),
        ("a:\n  b: x", "/a/c", "a:\n  b: x\n  c:\n    name: m\n    mountPath: /m\n"),
    ],
)
def test_add(text: str, path: str, expected: str) -> None:
    """In the form that is there."""
    assert edited(text, [PodOperation("add", path, MOUNT)]) == expected


def test_line_ends_of_windows() -> None:
    """All lines end alike."""
    text = edited("a:\r\n  - x\r\n", [PodOperation("add", "/a/-", MOUNT)])
    assert text == "a:\r\n  - x\r\n  - name: m\r\n    mountPath: /m\r\n"


def test_replace() -> None:
    """A value, and an item of a list."""
    text = "a:\n  - name: x   # x\n    value: y # y\n  - name: z\n"
    item = [PodOperation("replace", "/a/0", {"name": "n", "value": "v"})]
    assert edited(text, item) == "a:\n  - name: n\n    value: v # y\n  - name: z\n"
    value = [PodOperation("add", "/a/0/value", "w: x")]
    assert edited(text, value) == "a:\n  - name: x   # x\n    value: 'w: x' # y\n  - name: z\n"


def test_folded() -> None:
    """What is added and then filled is one addition."""
    operations = [
        PodOperation("add", "/a", []),
        PodOperation("add", "/a/-", {"b": {}}),
        PodOperation("add", "/a/0/b/c", 1),
        PodOperation("add", "/d", 2),
    ]
    assert folded(operations) == [
        PodOperation("add", "/a", [{"b": {"c": 1}}]),
        PodOperation("add", "/d", 2),
    ]


@given(PODS, st.booleans(), st.sampled_from([None, True, False]))
@settings(max_examples=30, deadline=None)
def test_any_pod(pod: dict[str, Any], is_indented: bool, flow: bool | None) -> None:
    """In block and in flow; a text that does not say what the patch says is not kept."""
    # A copy by JSON: what two parts of a pod share, YAML would write as an alias.
    manifest = {"apiVersion": "v1", "kind": "Pod", **json.loads(json.dumps(pod))}
    text = "# first\n" + yaml.safe_dump(
        manifest, default_flow_style=flow, indent=4 if is_indented else 2
    )
    [document] = documents(text, "x")
    result = inject_document(document, default_settings(), None)
    assert result.keeps_form
    assert result.text.startswith("# first\n")
    if result.text != text:
        assert parse(result.text)["spec"]["initContainers"]


@pytest.mark.parametrize(
    ("op", "path"),
    [
        ("add", "/a/5"),
        ("add", "/a/x"),
        ("add", "/missing/b"),
        ("add", "/b/c"),
        ("replace", "/a/1"),
        ("replace", "/c"),
        ("replace", "/a/-"),
    ],
)
def test_a_patch_that_does_not_fit(op: Any, path: str) -> None:
    """Raises, as an API server would refuse the pod."""
    with pytest.raises(PatchError):
        apply({"a": [1], "b": "text"}, [PodOperation(op, path, 1)])


def test_aliases_are_not_shared() -> None:
    """A list that two containers refer to is extended in one of them only."""
    shared: list[Any] = []
    patched = apply({"a": shared, "b": shared}, [PodOperation("add", "/a/-", 1)])
    assert patched == {"a": [1], "b": []}
