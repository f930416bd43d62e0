"""Reads a YAML file into plain values, and knows the line of each key.

PyYAML keeps the last of two equal keys without a word; here a key that stands twice is an error,
because half of what its author wrote would have no effect.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from sidelight.base.configuration.section import ConfigError

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists; empty for the whole file."""


_QUOTED = re.compile(r"""(['"])(.*?)\1""")


class YamlFile:
    """The values of a YAML file, and where they are.

    A line is looked up in the tree of nodes when it is asked for. A table of all of them would
    grow without bound for a file whose aliases refer to each other.
    """

    def __init__(self, name: str, root: yaml.Node | None, values: Any) -> None:
        self.name = name
        """The path of the file, as the user gave it."""
        self.values = values
        """What the file holds; None if it holds nothing."""
        self._root = root

    def has(self, path: KeyPath) -> bool:
        """Whether the file sets the value at `path`."""
        return _follow(self._root, path)[1] == len(path)

    def place(self, path: KeyPath) -> str:
        """`name:line` of the key at `path`, or of the nearest one above it that is there.

        The name alone for what concerns the whole file.
        """
        line, depth = _follow(self._root, path)
        return f"{self.name}:{line}" if depth else self.name


def read(path: Path) -> YamlFile:
    """The file at `path`.

    Raises `ConfigError` with a line for each fault: what cannot be read, what is not YAML, and
    each key that stands twice. No message quotes the file, because a secret may stand there.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not even as the cause: it holds the bytes of the file.
        raise ConfigError(f"{path}: not valid YAML: it is not UTF-8 text") from None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        faults = _repeated_keys(root, str(path))
        values = None if root is None or faults else loader.construct_document(root)
    except yaml.YAMLError as error:
        raise ConfigError(_syntax_fault(path, text, error)) from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid YAML: nested too deeply") from None
    if faults:
        raise ConfigError("\n".join(faults))
    return YamlFile(str(path), root, values)


class _Loader(yaml.SafeLoader):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node.

        SafeLoader lets Python's own errors escape for a scalar that does not fit its type, for
        instance the date 2026-13-01 or `!!int x`.
        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, ArithmeticError):
            raise yaml.constructor.ConstructorError(
                None, None, "the value does not fit its type", node.start_mark
            ) from None


def _follow(node: yaml.Node | None, path: KeyPath) -> tuple[int, int]:
    """The line of the deepest key of `path` that is there, and its depth."""
    line = 1
    for depth, part in enumerate(path):
        if isinstance(node, yaml.MappingNode):
            # The last one counts: what `<<` merges in is put before a mapping's own keys.
            pairs = [pair for pair in node.value if pair[0].value == str(part)]
            if not pairs:
                return line, depth
            key, node = pairs[-1]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                return line, depth
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line, depth
    return line, len(path)


def _repeated_keys(root: yaml.Node | None, name: str) -> list[str]:
    """A fault for each key that stands twice in one mapping, in the order of lines."""
    faults: list[tuple[int, str]] = []
    waiting: list[tuple[yaml.Node | None, str]] = [(root, "")]
    seen: set[int] = set()
    while waiting:
        node, above = waiting.pop()
        # Aliases make a graph of the tree, perhaps with a circle in it.
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, f"{above}{index}.") for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                waiting.append((value, f"{above}{key.value}."))
                if not isinstance(key, yaml.ScalarNode):
                    continue  # constructing the values refuses it
                line = key.start_mark.line + 1
                same = (key.tag, key.value)
                if same in lines:
                    where = f"{name}:{line}: {above}{key.value}"
                    faults.append((line, f"{where}: stands twice, first in line {lines[same]}"))
                lines.setdefault(same, line)
    return [fault for _, fault in sorted(faults)]


def _syntax_fault(path: Path, text: str, error: yaml.YAMLError) -> str:
    """Where and what, without the line itself: it may hold a secret in the wrong place."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}"
        return f"{place}: not valid YAML: {_without_quotations(error.problem or '')}"
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{path}:{line}: not valid YAML: a character that YAML does not allow"
    return f"{path}: not valid YAML"


def _without_quotations(problem: str) -> str:
    """PyYAML's words on a fault; of what they quote only single characters and kinds of token."""

    def shown(quoted: re.Match[str]) -> str:
        inner = quoted[2]
        return quoted[0] if len(inner) <= 1 or inner.startswith("<") else "…"

    return _QUOTED.sub(shown, problem)
