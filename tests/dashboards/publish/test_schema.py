"""Generated files against the types of those who read them: Grafana and prometheus-operator.

`from_json` of Grafana's SDK accepts any key; its TypeScript types do not.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidelight.dashboards.publish.files import render_boards
from support.node import typescript
from support.node.packages import NodeError, packages, run
from support.paths import ROOT, TESTS
from support.waiting import waiting_for

GENERATED = ROOT / "dashboards" / "generated"
_TYPES = TESTS / "support" / "node" / "grafana_schema"
pytestmark = pytest.mark.real("node")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages and the types."""
    with waiting_for("Grafana's types from npm"):
        installed = packages(_TYPES / "package.json")
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "node_modules").symlink_to(installed / "node_modules")
    for source in ("board.ts", "rules.mjs"):
        shutil.copy(_TYPES / source, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture(scope="module")
def complaints(folder: Path) -> dict[str, str]:
    """TypeScript's complaints by name: about all boards, and about those with a fault."""
    of_type = {"Board": _boards() | _faulty(), "BoardV2": _boards_v2() | _faulty_v2()}
    files = []
    for type_name, boards in of_type.items():
        for name, board in boards.items():
            file = folder / f"{name}.ts"
            file.write_text(
                f"import type {{ {type_name} }} from './board';\n"
                f"export const board: {type_name} = {json.dumps(board, indent=1)};\n"
            )
            files.append(file.name)
    return {
        file.removesuffix(".ts"): said
        for file, said in typescript.complaints(folder, files).items()
    }


@pytest.fixture
def validated(folder: Path) -> Callable[[dict[str, Any]], str]:
    """The complaints of prometheus-operator's schema about a PrometheusRule."""

    def check(document: dict[str, Any]) -> str:
        file = folder / "rule.json"
        file.write_text(json.dumps(document))
        try:
            return run(["node", "rules.mjs", file.name], folder)
        except NodeError as error:
            return str(error)

    return check


def _boards() -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in sorted(GENERATED.glob("*.json"))}


def _boards_v2() -> dict[str, dict[str, Any]]:
    rendered = render_boards(schema="v2")
    return {f"{name.removesuffix('.json')}-v2": json.loads(text) for name, text in rendered.items()}


Steps = tuple[str | int, ...]
_FAULTS: tuple[tuple[str, Steps, str, object], ...] = (
    ("misspelt", (), "titel", "Requests"),
    ("ill-typed", (), "editable", "no"),
    ("unknown-enum", ("panels", 1, "fieldConfig", "defaults", "thresholds"), "mode", "absolut"),
    ("panel-option", ("panels", 1, "options"), "legende", {}),
    ("query-field", ("panels", 1, "targets", 0), "expression", "up"),
    ("variable-field", ("templating", "list", 1), "multiple", True),
)
_FAULTS_V2: tuple[tuple[str, Steps, str, object], ...] = (
    ("misspelt-v2", ("spec",), "titel", "Requests"),
    ("ill-typed-v2", ("spec", "elements", "panel-2", "spec"), "id", "2"),
    ("unknown-enum-v2", ("spec", "variables", 1, "spec"), "refresh", "always"),
    ("layout-v2", ("spec", "layout", "spec", "rows", 0, "spec"), "height", 8),
    ("annotation-v2", ("spec", "annotations", 0, "spec"), "titleFormat", "restarted"),
    ("link-v2", ("spec", "links", 0), "target", "_blank"),
)


def _faulty() -> dict[str, dict[str, Any]]:
    return dict(_mutations(_boards()["sidelight-requests"], _FAULTS))


def _faulty_v2() -> dict[str, dict[str, Any]]:
    return dict(_mutations(_boards_v2()["sidelight-requests-v2"], _FAULTS_V2))


def _mutations(
    board: dict[str, Any], faults: tuple[tuple[str, Steps, str, object], ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The board with one fault each."""
    for name, path, key, value in faults:
        mutated = copy.deepcopy(board)
        place: Any = mutated
        for step in path:
            place = place[step]
        place[key] = value
        yield name, mutated


def test_boards_fit_grafana_s_types(complaints: dict[str, str]) -> None:
    """Every key of every board is one that Grafana knows, with a value of its type.

    As a file of today's JSON model, and as a resource of Grafana's v2 API.
    """
    faulty = _faulty().keys() | _faulty_v2().keys()
    assert {name: said for name, said in complaints.items() if name not in faulty} == {}


def test_the_types_find_faults(complaints: dict[str, str]) -> None:
    """Each mutation of a board is a complaint about its own file."""
    faulty = _faulty().keys() | _faulty_v2().keys()
    assert faulty - complaints.keys() == set()


def test_the_rule_fits_the_operator(validated: Callable[[dict[str, Any]], str]) -> None:
    """The PrometheusRule is valid; what it has beyond the schema, the operator would drop."""
    rule = yaml.safe_load((GENERATED / "sidelight-prometheusrule.yaml").read_text())
    assert validated(rule) == ""
    assert rule.keys() == {"apiVersion", "kind", "metadata", "spec"}
    for group in rule["spec"]["groups"]:
        assert group.keys() <= {"name", "interval", "rules", "limit", "labels"}
        for one in group["rules"]:
            assert one.keys() <= {"alert", "record", "expr", "for", "labels", "annotations"}


def test_the_operator_s_schema_finds_faults(validated: Callable[[dict[str, Any]], str]) -> None:
    """A duration in words, and an alert without an expression."""
    rule = yaml.safe_load((GENERATED / "sidelight-prometheusrule.yaml").read_text())
    for change in ({"for": "5 minutes"}, {"expr": None}):
        mutated = copy.deepcopy(rule)
        mutated["spec"]["groups"][-1]["rules"][0].update(change)
        assert validated(mutated)
