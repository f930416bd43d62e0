"""Changes the text of a YAML document: what is not changed keeps its comments and its form."""

from __future__ import annotations

import json
from typing import Any

import yaml

from sidelight.injection.decision import PodOperation
from sidelight.injection.manifests.reading import ManifestDumper, compose
from sidelight.injection.patch import apply


class EditError(Exception):
    """The text has a form that cannot be edited, such as an alias where something is added."""


def edited(text: str, operations: list[PodOperation]) -> str:
    """The text of a document after the operations. Raises `EditError` where it cannot say how."""
    is_windows = "\r\n" in text
    text = text.replace("\r\n", "\n")
    for operation in operations:
        text = _edit(text, operation)
    return text.replace("\n", "\r\n") if is_windows else text


def folded(operations: list[PodOperation]) -> list[PodOperation]:
    """The same with operations inside of what another one adds made a part of that one.

    A list that is added empty and then filled is written as one block.
    """

    result: list[PodOperation] = []
    for operation in operations:
        for index, earlier in enumerate(result):
            if earlier.op == "add" and operation.path.startswith(earlier.path + "/"):
                inner = PodOperation(
                    operation.op, "/v" + operation.path[len(earlier.path) :], operation.value
                )
                value = apply({"v": earlier.value}, [inner])["v"]
                result[index] = PodOperation("add", earlier.path, value)
                break
        else:
            result.append(operation)
    return result


def _edit(text: str, operation: PodOperation) -> str:
    *parents, last = [
        part.replace("~1", "/").replace("~0", "~") for part in operation.path.split("/")[1:]
    ]
    node: yaml.Node | None = compose(text)
    for part in parents:
        node = _child(node, part)
    if isinstance(node, yaml.MappingNode):
        existing = _child(node, last, missing_is_none=True)
        if existing is None:
            return _add_key(text, node, last, operation.value)
        if _is_empty(existing) and isinstance(operation.value, dict | list):
            lines = _block(operation.value, node.start_mark.column + 2)
            return _insert_lines(text, _end_of(text, existing), lines)
        return _replace(text, existing, operation.value)
    if isinstance(node, yaml.SequenceNode):
        index = len(node.value) if last == "-" else int(last)
        if operation.op == "replace":
            return _replace(text, node.value[index], operation.value)
        return _insert(text, node, index, operation.value)
    raise EditError(operation.path)


def _child(node: yaml.Node | None, part: str, missing_is_none: bool = False) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        values: list[yaml.Node] = [value for key, value in node.value if key.value == part]
        if values:
            return values[-1]
        if missing_is_none:
            return None
    elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
        item: yaml.Node = node.value[int(part)]
        return item
    raise EditError(part)


def _add_key(text: str, node: yaml.MappingNode, key: str, value: Any) -> str:
    if node.flow_style:
        return _add_to_flow(text, node, f"{json.dumps(key)}: {_as_json(value)}")
    column = node.start_mark.column
    return _insert_lines(text, _end_of(text, node), _block({key: value}, column))


def _insert(text: str, node: yaml.SequenceNode, index: int, value: Any) -> str:
    if node.flow_style:
        if index < len(node.value):
            at = node.value[index].start_mark.index
            return f"{text[:at]}{_as_json(value)}, {text[at:]}"
        return _add_to_flow(text, node, _as_json(value))
    lines = _block([value], node.start_mark.column)
    if index == len(node.value):
        return _insert_lines(text, _end_of(text, node), lines)
    return _insert_lines(text, _start_of_item(text, node, index), lines)


def _is_empty(node: yaml.Node) -> bool:
    """Whether there is nothing after a key."""
    return isinstance(node, yaml.ScalarNode) and not node.style and not node.value


def _start_of_item(text: str, node: yaml.SequenceNode, index: int) -> int:
    """Where the line of an item begins, or that of the comment above it."""
    start = text.rfind("\n", 0, node.value[index].start_mark.index) + 1
    if text[start : start + node.start_mark.column].strip():
        raise EditError("an item that does not begin its line")
    while start > 0:
        above = text.rfind("\n", 0, start - 1) + 1
        if not text[above:start].lstrip().startswith("#"):
            break
        start = above
    return start


def _replace(text: str, node: yaml.Node, value: Any) -> str:
    start, end = node.start_mark.index, _last_leaf(node).end_mark.index
    if _is_empty(node):
        # The mark is at the end of the key.
        return f"{text[:start]} {_inline(value)}{text[start:]}"
    if isinstance(value, dict | list):
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and value:
            block = _block(value, node.start_mark.column)
            return text[:start] + block.strip() + text[end:]
        return text[: node.start_mark.index] + _as_json(value) + text[node.end_mark.index :]
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        raise EditError("a block of text")
    return text[:start] + _inline(value) + text[end:]


def _add_to_flow(text: str, node: yaml.CollectionNode, item: str) -> str:
    if not node.value:
        at = node.end_mark.index - 1
        return f"{text[:at]}{item}{text[at:]}"
    # After the last item and not before the bracket: there may be a comma or a comment.
    at = _last_item(node).end_mark.index
    return f"{text[:at]}, {item}{text[at:]}"


def _insert_lines(text: str, at: int, lines: str) -> str:
    before = text[:at]
    if before and not before.endswith("\n"):
        before += "\n"
    return before + lines + text[at:]


def _end_of(text: str, node: yaml.Node) -> int:
    """Where the line after the last one of a node begins; a comment on that line is part of it."""
    leaf = _last_leaf(node)
    end = leaf.end_mark.index
    if isinstance(leaf, yaml.ScalarNode) and leaf.style in ("|", ">"):
        # Its end is where the next token begins; blank lines before that are not part of it.
        return len(text[:end].rstrip()) + 1 if text[:end].strip() else end
    newline = text.find("\n", end)
    return len(text) if newline < 0 else newline + 1


def _last_leaf(node: yaml.Node) -> yaml.Node:
    """The node that ends where `node` ends: a block ends only where the next token begins."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = _last_item(node)
    return node


def _last_item(node: yaml.CollectionNode) -> yaml.Node:
    last: Any = node.value[-1]
    item: yaml.Node = last[1] if isinstance(node, yaml.MappingNode) else last
    return item


def _block(value: Any, column: int) -> str:
    lines = yaml.dump(value, Dumper=ManifestDumper, sort_keys=False, width=1000).splitlines(True)
    return "".join(" " * column + line if line.strip() else line for line in lines)


def _inline(value: Any) -> str:
    return yaml.dump(value, Dumper=ManifestDumper, width=100_000).split("\n")[0]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
