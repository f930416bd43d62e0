"""Describes the faults of a configuration, one line each.

`sidelight.yaml:7: serve.port (is 99999): input should be less than or equal to 65535`: place,
key, value, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from sidelight.base.configuration.origins import Origins
from sidelight.base.configuration.yaml_file import KeyPath

# A fault is one line; a larger value is easier to see in the file itself.
MAX_SHOWN_CHARACTERS = 100
_REFERENCE = "see docs/configuration.md or `sidelight config schema`"
# A user may have written the secret itself where its variable or file belongs.
_MAY_BE_SECRET = ("secret", "key", "headers", "token", "password")


def explain(error: ValidationError, model: type[BaseModel], origins: Origins) -> list[str]:
    """A line for each fault of a validation by `model`, in pydantic's order.

    Values are shown unless they are large or may be secrets.
    """
    faults: dict[tuple[str, str], list[str]] = {}
    for fault in error.errors(include_url=False):
        path, annotation = _resolve(model, fault["loc"])
        key = ".".join(map(str, path)) or "(whole file)"
        suffix, message = _say(fault, annotation)
        shown = "" if suffix or fault["type"] == "extra_forbidden" else _shown(key, fault["input"])
        # Pydantic reports each alternative of a union as a fault of its own, with the same key.
        alternatives = faults.setdefault((f"{origins.place(path)}: {key}{suffix}", shown), [])
        if message not in alternatives:
            alternatives.append(message)
    return [
        f"{where}{shown}: {' or '.join(messages)}" for (where, shown), messages in faults.items()
    ]


def _say(fault: Mapping[str, Any], annotation: Any) -> tuple[str, str]:
    """A suffix to the faulty key, empty for most faults, and what is allowed there."""
    match fault["type"]:
        case "extra_forbidden":
            return "", f"unknown key; {_known_keys(annotation)}"
        case "model_type" | "model_attributes_type":
            return "", f"must be a mapping; {_known_keys(annotation)}"
        case "union_tag_invalid" | "union_tag_not_found":
            return ".type", f"must be one of {', '.join(_alternatives(annotation))}"
        case "dict_type":
            return "", "must be a mapping"
        case "tuple_type" | "list_type":
            return "", 'must be a list; in the environment as JSON, for instance ["one"]'
        case "path_type":
            return "", "must be a path"
    message: str = fault["msg"].removeprefix("Value error, ")
    return "", f"{message[:1].lower()}{message[1:]}"


def _shown(key: str, value: Any) -> str:
    """The value in brackets, unless it is large or may be a secret."""
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    shown = repr(value)
    if any(word in key for word in _MAY_BE_SECRET) or len(shown) > MAX_SHOWN_CHARACTERS:
        return ""
    # A user and password come before an @, tokens after a ? or #.
    is_url = "url" in key or "proxy" in key
    is_url_with_secret = is_url and any(mark in shown for mark in "@?#")
    return "" if is_url_with_secret else f" (is {shown})"


def _known_keys(annotation: Any) -> str:
    """The keys of the mapping that a type describes, if it describes exactly one."""
    alternatives = list(_alternatives(annotation).values())
    if len(alternatives) != 1 or not _is_model(alternatives[0]):
        return _REFERENCE
    return "known keys: " + ", ".join(sorted(alternatives[0].model_fields))


def _resolve(model: type[BaseModel], location: KeyPath) -> tuple[KeyPath, Any]:
    """The path of a fault as the file has it, and the type of the value that belongs there.

    Pydantic's location also holds the names of union alternatives, which the file does not
    have. For an unknown key the type is that of the mapping around it. It is None where it
    cannot be followed.
    """
    path: list[str | int] = []
    annotation: Any = model
    for part in location:
        alternatives = _alternatives(annotation)
        if len(alternatives) > 1:
            annotation = alternatives.get(str(part))
            continue
        path.append(part)
        (around,) = alternatives.values()
        if _is_model(around) and part not in around.model_fields and part == location[-1]:
            break
        annotation = _inner(around, part)
    return tuple(path), annotation


def _alternatives(annotation: Any) -> dict[str, Any]:
    """The types that a value may have, by pydantic's names for them, without None and metadata."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return {"": annotation}
    alternatives: dict[str, Any] = {}
    for member in get_args(annotation):
        metadata = getattr(member, "__metadata__", ())
        tags = [mark.tag for mark in metadata if isinstance(mark, Tag)]
        if tags:
            alternatives[tags[0]] = get_args(member)[0]
        elif member is not NoneType:
            for name, alternative in _alternatives(member).items():
                alternatives |= dict.fromkeys((name,) if name else _names(alternative), alternative)
    return alternatives


def _names(alternative: Any) -> tuple[str, ...]:
    """The values that an alternative allows for its `type`, or else its own name."""
    if _is_model(alternative) and "type" in alternative.model_fields:
        types = alternative.model_fields["type"].annotation
        if get_origin(types) is Literal:
            return tuple(map(str, get_args(types)))
    return (getattr(alternative, "__name__", str(alternative)),)


def _inner(annotation: Any, part: str | int) -> Any:
    """The type of an item or of the value at a key; None if it is not known."""
    if _is_model(annotation):
        field = annotation.model_fields.get(str(part))
        return None if field is None else field.annotation
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin in (tuple, list):
            return arguments[0]
        case origin if origin is dict:
            return arguments[1]
    return None


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
