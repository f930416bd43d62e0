"""Reads the metrics of a vLLM that is not run here from its source: kinds, labels, bounds.

`python -m support.vllm_source FOLDER > FILE.json`, with the folder of an unpacked wheel.
"""

from __future__ import annotations

import ast
import json
import re
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_KINDS: Final = {"_gauge_cls": "gauge", "_counter_cls": "counter", "_histogram_cls": "histogram"}


def metrics(folder: Path) -> dict[str, dict[str, Any]]:
    """Each metric of vLLM's stat logger: `kind`, `labels`, and `buckets` of a histogram.

    Bounds that depend on the model's longest prompt are left out.
    """
    source = folder / "vllm" / "v1" / "metrics"
    families: Mapping[str, Sequence[float]] = runpy.run_path(str(source / "buckets.py"))[
        "_STATIC_FAMILY_DEFAULTS"
    ]
    tree = ast.parse((source / "loggers.py").read_text(encoding="utf-8"))
    names = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        name = given.get("name")
        if node.func.attr in _KINDS and isinstance(name, ast.Constant):
            found[str(name.value)] = {
                "kind": _KINDS[node.func.attr],
                "labels": _labels(given["labelnames"], names),
                **_buckets(given.get("buckets"), names, families),
            }
    return found


def _labels(node: ast.expr, names: Mapping[str, ast.expr]) -> list[str]:
    match node:
        case ast.Name(id=name):
            return _labels(names[name], names)
        case ast.BinOp(left=left, right=right):
            return _labels(left, names) + _labels(right, names)
        case ast.List(elts=elements):
            return [label for element in elements for label in _labels(element, names)]
        case ast.Constant(value=value):
            return [str(value)]
        case ast.Attribute(attr=attribute):
            # `self.labelname_max_lora` holds `max_lora`.
            return [attribute.removeprefix("labelname_")]
        case _:
            raise ValueError(f"no labels: {ast.unparse(node)}")


def _buckets(
    node: ast.expr | None, names: Mapping[str, ast.expr], families: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    if not isinstance(node, ast.Name):
        return {}
    family = re.search(r"histogram_buckets\('(\w+)'", ast.unparse(names[node.id]))
    bounds = families.get(family[1]) if family else None
    return {"buckets": list(bounds)} if bounds else {}


if __name__ == "__main__":
    # A line for each, so that a difference between releases is seen.
    lines = (
        f" {json.dumps(name)}: {json.dumps(found)}"
        for name, found in sorted(metrics(Path(sys.argv[1])).items())
    )
    print("{", ",\n".join(lines), "}", sep="\n")
