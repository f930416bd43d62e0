"""Reads queries back from a board's JSON, as Grafana would send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

# `$name`, `${name}` and `${name:format}`; `$1` of label_replace is not a variable.
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::[^}]*)?\})")
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+),\s*(?P<label>\w+)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class BoardQuery:
    """One PromQL expression of a board, where it is used, and whether it requests exemplars."""

    kind: Literal["panel", "variable", "annotation"]
    place: str
    ref_id: str
    expression: str
    instant: bool = False
    exemplars: bool = False


def board_queries(board_json: str) -> Iterator[BoardQuery]:
    """Every query of a board; for a variable the equivalent `count by (label) (series)`."""
    board: dict[str, Any] = json.loads(board_json)
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        for target in panel["targets"]:
            yield BoardQuery(
                "panel",
                panel["title"],
                target["refId"],
                target["expr"],
                instant=target["instant"],
                exemplars=target["exemplar"],
            )
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            values = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            if values is None:
                raise ValueError(f"variable {variable['name']}: not a label_values query")
            expression = f"count by ({values['label']}) ({values['series']})"
            yield BoardQuery("variable", variable["name"], "", expression, instant=True)
    for annotation in board["annotations"]["list"]:
        target = annotation["target"]
        yield BoardQuery("annotation", annotation["name"], target["refId"], target["expr"])


def interpolate(expression: str, values: Mapping[str, str]) -> str:
    """Replace Grafana's variables by values; raises `KeyError` for one without a value."""
    return _VARIABLE.sub(lambda variable: values[variable[1] or variable[2]], expression)
