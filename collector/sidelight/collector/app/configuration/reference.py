"""Generates the reference page of sidelight.yaml from its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sidelight.collector.app.configuration.live import is_live

# What pydantic's union of scalars becomes; the page says "value" instead.
_ANY_SCALAR = "text or whole number or number or true or false"
_HEAD = """# Configuration

All keys of `sidelight.yaml`. `make config-docs` generates this page from the code that reads the
file.

`sidelight config check -c sidelight.yaml` prints every fault with its line, key, value and what is
allowed. Without a fault it prints the effective configuration. A repeated key is a fault.

An environment variable can set any key; the tables name it. The environment wins over the file.
Lists and mappings are JSON in a variable.

Secrets are never in the file. It names an environment variable or a file for each secret.

A reload (SIGHUP) applies the keys marked **Live**. All other keys need a restart: see
[Operating](operating.md).

An editor with a YAML language server checks and completes the file. Write the schema,

```
sidelight config schema > sidelight.schema.json
```

and start the file with

```yaml
# yaml-language-server: $schema=./sidelight.schema.json
```
"""


def page(schema: dict[str, Any]) -> str:
    """The page, in Markdown."""
    book = _Book(schema["$defs"])
    parts = [_HEAD, book.table(schema, "")]
    for path, section in book.sections(schema, ""):
        parts.append(
            f"## `{path}`\n{_first(section)}\n\n{book.table(section, path)}".rstrip() + "\n"
        )
    parts.append("## Items of lists and shared sections\n")
    parts += book.shared()
    return "\n".join(parts)


def keys_table(schema: dict[str, Any], definition: str, reference: str) -> str:
    """The keys of one definition of the schema, in Markdown.

    `reference` is the path of the reference page, for links to shared sections.
    """
    book = _Book(schema["$defs"], reference)
    return book.table(_whole(schema["$defs"][definition]), None)


class _Book:
    """Sections in the order of the file. A shared section is described once, at the end."""

    def __init__(self, definitions: dict[str, Any], page: str = "") -> None:
        """`page`: the page of the shared sections, if it is another one."""
        self._definitions = definitions
        self._page = page
        self._shared: list[str] = []

    def sections(self, section: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, value in section["properties"].items():
            inner = _section_name(value)
            if inner is not None and "default" not in value:
                below = f"{path}{name}"
                definition = self._definitions[inner]
                yield below, definition
                yield from self.sections(definition, f"{below}.")

    def shared(self) -> Iterator[str]:
        """Definitions that were linked to, and those that they link to."""
        done = 0
        # Writing a table may link to further definitions.
        while done < len(self._shared):
            name = self._shared[done]
            definition = _whole(self._definitions[name])
            done += 1
            yield f"### {_spoken(name)}\n{_first(definition)}\n\n{self.table(definition, None)}"

    def table(self, section: dict[str, Any], path: str | None) -> str:
        """The keys of a section. Keys of list items (no path) have no variable."""
        head = "| key | value | default | |"
        lines = [f"{head} variable |" if path is not None else head]
        lines.append("|---|---|---|---|---|" if path is not None else "|---|---|---|---|")
        required = section.get("required", [])
        for name, value in section["properties"].items():
            # It has a heading and a table of its own.
            if path is not None and self._is_own_section(value):
                continue
            default = "required" if name in required else _default(value)
            meaning = _meaning(value)
            if path is not None and is_live(f"{path}.{name}".lstrip(".")):
                meaning = f"{meaning} **Live.**"
            cells = [f"`{name}`", self._kind(value), default, meaning]
            if path is not None:
                variable = "__".join([*path.split("."), name] if path else [name]).upper()
                cells.append(f"`SIDELIGHT_{variable}`")
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n" if len(lines) > 2 else ""

    def _is_own_section(self, value: dict[str, Any]) -> bool:
        return _section_name(value) is not None and "default" not in value

    def _kind(self, value: dict[str, Any]) -> str:
        """The values that are allowed, in words."""
        if "$ref" in value:
            return self._link(value["$ref"].rpartition("/")[2])
        for several in ("anyOf", "oneOf"):
            if several in value:
                alternatives = (one for one in value[several] if one != {"type": "null"})
                kinds = [self._kind(alternative) for alternative in alternatives]
                words = " or ".join(dict.fromkeys(kinds))
                return words.replace(_ANY_SCALAR, "value")
        if "const" in value:
            return f"`{value['const']}`"
        if "enum" in value:
            return ", ".join(f"`{word}`" for word in value["enum"] if word is not False)
        match value.get("type"):
            case "array":
                return f"list of {self._kind(value['items'])}"
            case "object":
                inner = value.get("additionalProperties")
                return f"mapping to {self._kind(inner)}" if isinstance(inner, dict) else "mapping"
            case "integer" | "number":
                return _number(value)
            case "boolean":
                return "true or false"
        if value.get("format") == "path":
            return "path"
        # A bare | would end the cell of the table.
        pattern = value.get("pattern", "").replace("|", "\\|")
        return f"text like `{pattern}`" if pattern else "text"

    def _link(self, name: str) -> str:
        if name not in self._shared:
            self._shared.append(name)
        spoken = _spoken(name)
        return f"[{spoken}]({self._page}#{spoken.lower().replace(' ', '-')})"


def _spoken(name: str) -> str:
    """A definition's name in words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _whole(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition's mapping, for definitions that also allow a short form."""
    mapping: dict[str, Any] = definition["anyOf"][0] if "anyOf" in definition else definition
    return mapping


def _section_name(value: dict[str, Any]) -> str | None:
    refs = [one["$ref"] for one in value.get("anyOf", ()) if "$ref" in one]
    nullable = {"type": "null"} in value.get("anyOf", ())
    return refs[0].rpartition("/")[2] if len(refs) == 1 and nullable else None


def _item_name(value: dict[str, Any]) -> str | None:
    ref = value.get("items", {}).get("$ref")
    return None if ref is None else ref.rpartition("/")[2]


def _first(definition: dict[str, Any]) -> str:
    return " ".join(definition.get("description", "").split())


def _meaning(value: dict[str, Any]) -> str:
    return " ".join(value.get("description", "").split()).replace("|", "\\|")


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if isinstance(default, dict) and default.get("env"):
        return f"`{{env: {default['env']}}}`"
    # Such lists (signals, rules) have every possible item by default.
    if isinstance(default, list) and default:
        return "all"
    if not default and not isinstance(default, bool | int | float):
        return "none"
    return f"`{json.dumps(default) if isinstance(default, bool) else default}`"


def _number(value: dict[str, Any]) -> str:
    kind = "whole number" if value["type"] == "integer" else "number"
    bounds = [
        f"{word} {value[key]:g}" if isinstance(value[key], float) else f"{word} {value[key]}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in value
    ]
    return ", ".join([kind, *bounds])
