"""Reads manifests as Kubernetes does, and writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import yaml

# A line that begins with it starts a document wherever it is, even in a block of text.
_START: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class ManifestError(Exception):
    """A file that cannot be read as manifests; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class ManifestDocument:
    """A document of a file."""

    text: str
    """As it is in the file, with the line `---` before it."""
    manifest: Any
    """Its value; None if there is nothing but comments."""


class _ManifestLoader(yaml.SafeLoader):
    """Leaves dates as texts, as Kubernetes does."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if pair[0] != _TIMESTAMP]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class ManifestDumper(yaml.SafeDumper):
    """Writes lists and texts as manifests have them: items indented, lines of a script kept."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


ManifestDumper.add_representer(str, _text)


def documents(text: str, name: str) -> Iterator[ManifestDocument]:
    """The documents of a file or stream; their texts together are `text`.

    Raises `ManifestError` with file and line.
    """
    starts = [match.start() for match in _START.finditer(text)]
    bounds = [0, *(start for start in starts if start), len(text)]
    for start, end in pairwise(bounds):
        chunk = text[start:end]
        yield ManifestDocument(chunk, _parsed(chunk, name, text.count("\n", 0, start)))


def compose(text: str) -> yaml.Node | None:
    """The nodes of a document, with their places. Raises `yaml.YAMLError`."""
    node: yaml.Node | None = yaml.compose(text, Loader=_ManifestLoader)
    return node


def parse(text: str) -> Any:
    """The value of a document. Raises `yaml.YAMLError`."""
    return yaml.load(text, Loader=_ManifestLoader)  # noqa: S506


def dump(manifest: Any) -> str:
    """A document as YAML, without the comments of its text."""
    return "---\n" + yaml.dump(manifest, Dumper=ManifestDumper, sort_keys=False, width=100)


def _parsed(chunk: str, name: str, line: int) -> Any:
    try:
        return parse(chunk)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        place = f"{name}:{line + mark.line + 1}" if mark is not None else name
        advice = "Correct the file."
        if "{{" in chunk:
            advice = "It may be a template: give the output of `helm template`."
        raise ManifestError(f"{place}: not valid YAML. {advice}") from None
