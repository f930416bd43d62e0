"""The JSON schema of sidelight.yaml, made from the models that read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from sidelight.collector.app.configuration.config import Config
from sidelight.collector.app.configuration.live import LIVE_KEYS

RELOAD: Final = "x-reload"
"""Keyword of keys that a reload changes."""

_ID: Final = "urn:sidelight:sidelight.yaml"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# What the models read besides a mapping: see their validators.
_SHORT_FORMS: Final[dict[str, dict[str, Any]]] = {
    "Match": {"type": "string", "description": "One of kinds alone."},
    "Extension": {"type": "string", "description": "Its call alone."},
}
_SECRETS: Final = ("Secret", "Tokens")


def schema() -> dict[str, Any]:
    """The schema, in the dialect of 2020-12; YAML language servers understand it.

    It takes whatever is valid. Some rules that one key has with another it cannot know:
    `sidelight config check` does.
    """
    found: dict[str, Any] = Config.model_json_schema()
    definitions = found.pop("$defs")
    for section in (found, *definitions.values()):
        for each in section.get("properties", {}).values():
            _tidy(each)
    for name in _SECRETS:
        definitions[name]["oneOf"] = [{"required": ["env"]}, {"required": ["file"]}]
    for key in LIVE_KEYS:
        _property(found, definitions, key)[RELOAD] = True
    for section in (found, *definitions.values()):
        for name, each in section.get("properties", {}).items():
            section["properties"][name] = _or_empty(each)
    for name, short in _SHORT_FORMS.items():
        definitions[name] = {"anyOf": [definitions[name], short]}
    del found["title"]
    return {
        "$schema": _DIALECT,
        "$id": _ID,
        "title": "sidelight.yaml",
        **found,
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(value: dict[str, Any]) -> None:
    """Without titles that only repeat the key and defaults that only repeat a section's."""
    value.pop("title", None)
    if "$ref" in value and isinstance(value.get("default"), dict) and "env" not in value["default"]:
        del value["default"]
    for each in _inside(value):
        if each.get("type") == "array" and "minLength" in each:
            each["minItems"] = each.pop("minLength")
        if "off" in each.get("enum", ()):
            # YAML 1.1 reads a bare `off` as false, and so do the models.
            each["enum"].append(False)
            del each["type"]


def _inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _inside(each)
    elif isinstance(value, list):
        for each in value:
            yield from _inside(each)


def _or_empty(value: dict[str, Any]) -> dict[str, Any]:
    """A section whose keys are all commented out is null to YAML."""
    if "$ref" not in value:
        return value
    rest = {key: each for key, each in value.items() if key != "$ref"}
    return {"anyOf": [{"$ref": value["$ref"]}, {"type": "null"}], **rest}


def _property(root: dict[str, Any], definitions: dict[str, Any], key: str) -> dict[str, Any]:
    section = root
    *path, last = key.split(".")
    for part in path:
        section = definitions[section["properties"][part]["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = section["properties"][last]
    return found
