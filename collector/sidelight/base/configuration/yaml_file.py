"""Reads a YAML file into plain values, and knows the line of each key.

PyYAML silently keeps the last of two equal keys. Here a repeated key is an error, because half of
what its author wrote would have no effect.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from sidelight.base.configuration.section import ConfigError

KeyPath = tuple[str | int, ...]
"""The path to a value: keys of mappings and indices of lists; empty for the whole file."""

_QUOTED = re.compile(r"""(['"])(.*?)\1""")


class YamlFile:
    """The values of a YAML file, and where they are.

    Lines are looked up in the tree of nodes on demand. A table of all lines would grow without
    bound for a file whose aliases refer to each other.
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
        """`name:line` of the key at `path`, or of the nearest key above it in the file.

        The name alone for a fault of the whole file.
        """
        line, depth = _follow(self._root, path)
        return f"{self.name}:{line}" if depth else self.name


def read(path: Path) -> YamlFile:
    """The file at `path`.

    Raises `ConfigError` with a line for each fault: unreadable, not YAML, repeated keys. No
    message quotes the file, because a secret may be in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not chained: the error holds the bytes of the file.
        raise ConfigError(f"{path}: not valid YAML: not UTF-8 text") from None
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

        For a scalar that does not fit its type, such as the date 2026-13-01 or `!!int x`,
        SafeLoader raises Python's own errors instead of YAML's.
        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, ArithmeticError):
            raise yaml.constructor.ConstructorError(
                None, None, "the value does not fit its type", node.start_mark
            ) from None


def _follow(node: yaml.Node | None, path: KeyPath) -> tuple[int, int]:
    """The line of the deepest key of `path` that exists, and its depth."""
    line = 1
    for depth, part in enumerate(path):
        if isinstance(node, yaml.MappingNode):
            # The last one counts: PyYAML puts what `<<` merges before a mapping's own keys.
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
    """A fault for each repeated key of a mapping, in the order of lines."""
    faults: list[tuple[int, str]] = []
    pending: list[tuple[yaml.Node | None, str]] = [(root, "")]
    seen: set[int] = set()
    while pending:
        node, above = pending.pop()
        # Aliases turn the tree into a graph, which may have cycles.
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += [(item, f"{above}{index}.") for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                pending.append((value, f"{above}{key.value}."))
                if not isinstance(key, yaml.ScalarNode):
                    continue  # an error of its own when the values are constructed
                line = key.start_mark.line + 1
                same = (key.tag, key.value)
                if same in lines:
                    where = f"{name}:{line}: {above}{key.value}"
                    faults.append((line, f"{where}: repeated, first in line {lines[same]}"))
                lines.setdefault(same, line)
    return [fault for _, fault in sorted(faults)]


def _syntax_fault(path: Path, text: str, error: yaml.YAMLError) -> str:
    """Place and problem, without the line itself: it may hold a misplaced secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}"
        return f"{place}: not valid YAML: {_without_quotations(error.problem or '')}"
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{path}:{line}: not valid YAML: a character that YAML does not allow"
    return f"{path}: not valid YAML"


def _without_quotations(problem: str) -> str:
    """PyYAML's message, with only single characters and kinds of token left of its quotations."""

    def shown(quoted: re.Match[str]) -> str:
        inner = quoted[2]
        return quoted[0] if len(inner) <= 1 or inner.startswith("<") else "…"

    return _QUOTED.sub(shown, problem)
