"""Generates the JSON schema of sidelight.yaml from the models that read the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import LIVE_KEYS

RELOAD: Final = "x-reload"
"""Keyword of keys that a reload applies."""

_ID: Final = "urn:sidelight:sidelight.yaml"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# Short forms that validators of the models turn into a mapping.
_SHORT_FORMS: Final[dict[str, dict[str, Any]]] = {
    "Match": {"type": "string", "description": "One of kinds alone."},
    "Extension": {"type": "string", "description": "Its call alone."},
}
_SECRETS: Final = ("Secret", "OptionalSecret", "Tokens")


def schema() -> dict[str, Any]:
    """The schema, in JSON Schema 2020-12, which YAML language servers understand.

    It accepts every valid file. It does not know rules between keys, which
    `sidelight config check` does.
    """
    root: dict[str, Any] = Config.model_json_schema()
    definitions = root.pop("$defs")
    for section in (root, *definitions.values()):
        for value in section.get("properties", {}).values():
            _tidy(value)
    for name in _SECRETS:
        definitions[name]["oneOf"] = [{"required": ["env"]}, {"required": ["file"]}]
    for key in LIVE_KEYS:
        _property(root, definitions, key)[RELOAD] = True
    for section in (root, *definitions.values()):
        for name, value in section.get("properties", {}).items():
            section["properties"][name] = _or_empty(value)
    for name, short in _SHORT_FORMS.items():
        definitions[name] = {"anyOf": [definitions[name], short]}
    del root["title"]
    return {
        "$schema": _DIALECT,
        "$id": _ID,
        "title": "sidelight.yaml",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as JSON text."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(value: dict[str, Any]) -> None:
    """Remove titles that repeat the key, and defaults that repeat those of the section."""
    value.pop("title", None)
    if "$ref" in value and isinstance(value.get("default"), dict) and "env" not in value["default"]:
        del value["default"]
    for schema_part in _inside(value):
        # Pydantic writes min_length of a tuple as if it were a string's.
        if schema_part.get("type") == "array" and "minLength" in schema_part:
            schema_part["minItems"] = schema_part.pop("minLength")
        if "off" in schema_part.get("enum", ()):
            # YAML 1.1 reads a bare `off` as false, which the models accept.
            schema_part["enum"].append(False)
            del schema_part["type"]


def _inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from _inside(item)


def _or_empty(value: dict[str, Any]) -> dict[str, Any]:
    """A section whose keys are all commented out is null to YAML."""
    if "$ref" not in value:
        return value
    rest = {keyword: item for keyword, item in value.items() if keyword != "$ref"}
    return {"anyOf": [{"$ref": value["$ref"]}, {"type": "null"}], **rest}


def _property(root: dict[str, Any], definitions: dict[str, Any], key: str) -> dict[str, Any]:
    section = root
    *path, last = key.split(".")
    for part in path:
        section = definitions[section["properties"][part]["$ref"].rpartition("/")[2]]
    value: dict[str, Any] = section["properties"][last]
    return value
