"""A board in Grafana's v2 schema, as a resource of `dashboard.grafana.app/v2`.

Made from its v1 document, as Grafana itself converts stored dashboards, so that the two never
differ in a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

API_VERSION: Final = "dashboard.grafana.app/v2"

Document = dict[str, Any]

# v1 counts them.
_CURSOR_SYNC: Final = ("Off", "Crosshair", "Tooltip")
_REFRESH: Final = ("never", "onDashboardLoad", "onTimeRangeChanged")
_SORT: Final = ("disabled", "alphabeticalAsc", "alphabeticalDesc")
_REFRESH_INTERVALS: Final = ["5s", "10s", "30s", "1m", "5m", "15m", "30m", "1h", "2h", "1d"]
_NOTHING_CHOSEN: Final = {"text": "", "value": ""}


def dashboard_v2(board: Mapping[str, Any]) -> Document:
    """A board in the v2 schema, from what `json.loads` makes of it in v1.

    Raises `ValueError` for a type of variable that no board of ours has.
    """
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    return {
        "apiVersion": API_VERSION,
        "kind": "Dashboard",
        "metadata": {"name": board["uid"]},
        "spec": {
            "title": board["title"],
            "description": board["description"],
            "tags": board["tags"],
            "editable": board["editable"],
            "cursorSync": _CURSOR_SYNC[board["graphTooltip"]],
            "preload": False,
            "timeSettings": {
                **board["time"],
                "timezone": board["timezone"],
                "autoRefresh": board["refresh"],
                "autoRefreshIntervals": _REFRESH_INTERVALS,
                "hideTimepicker": False,
                "fiscalYearStartMonth": 0,
            },
            "links": board["links"],
            "annotations": [_annotation(one) for one in board["annotations"]["list"]],
            "variables": [_variable(one) for one in board["templating"]["list"]],
            "elements": {_element(panel): _panel(panel) for panel in panels},
            "layout": {"kind": "RowsLayout", "spec": {"rows": list(_rows(board["panels"]))}},
        },
    }


def _element(panel: Mapping[str, Any]) -> str:
    return f"panel-{panel['id']}"


def _panel(panel: Mapping[str, Any]) -> Document:
    return {
        "kind": "Panel",
        "spec": {
            "id": panel["id"],
            "title": panel["title"],
            "description": panel["description"],
            "links": [
                {key: link[key] for key in ("title", "url", "targetBlank")}
                for link in panel["links"]
            ],
            "data": {
                "kind": "QueryGroup",
                "spec": {
                    "queries": [_panel_query(target) for target in panel["targets"]],
                    "transformations": [],
                    "queryOptions": {},
                },
            },
            "vizConfig": {
                "kind": "VizConfig",
                "group": panel["type"],
                "version": panel.get("pluginVersion", ""),
                "spec": {"options": panel["options"], "fieldConfig": panel["fieldConfig"]},
            },
        },
    }


def _panel_query(target: Mapping[str, Any]) -> Document:
    return {
        "kind": "PanelQuery",
        "spec": {
            # Of a panel's query the id is outside, of others within.
            "query": _query({key: value for key, value in target.items() if key != "refId"}),
            "refId": target["refId"],
            "hidden": False,
        },
    }


def _query(target: Mapping[str, Any]) -> Document:
    """A query of Prometheus; the data source is that of the variable."""
    return {
        "kind": "DataQuery",
        "group": "prometheus",
        "version": "v0",
        "datasource": {"name": "${datasource}"},
        "spec": {key: value for key, value in target.items() if key != "datasource"},
    }


def _annotation(annotation: Mapping[str, Any]) -> Document:
    return {
        "kind": "AnnotationQuery",
        "spec": {
            **{key: annotation[key] for key in ("name", "enable", "hide", "iconColor")},
            "query": _query(annotation["target"]),
            # Of the data source alone; Grafana keeps such keys here.
            "legacyOptions": {
                key: annotation[key] for key in ("titleFormat", "textFormat", "tagKeys")
            },
        },
    }


def _rows(panels: Iterable[Mapping[str, Any]]) -> Iterator[Document]:
    """Each row with its panels; in v2 their places count from the row's top."""
    rows: list[tuple[str, int, list[Document]]] = []
    for panel in panels:
        place = panel["gridPos"]
        if panel["type"] == "row":
            rows.append((panel["title"], place["y"] + place["h"], []))
            continue
        _, top, items = rows[-1]
        items.append(
            {
                "kind": "GridLayoutItem",
                "spec": {
                    "x": place["x"],
                    "y": place["y"] - top,
                    "width": place["w"],
                    "height": place["h"],
                    "element": {"kind": "ElementReference", "name": _element(panel)},
                },
            }
        )
    for title, _, items in rows:
        layout = {"kind": "GridLayout", "spec": {"items": items}}
        yield {"kind": "RowsLayoutRow", "spec": {"title": title, "layout": layout}}


def _variable(variable: Mapping[str, Any]) -> Document:
    spec = {
        "name": variable["name"],
        "label": variable["label"],
        "description": variable["description"],
        "hide": "dontHide",
        "skipUrlSync": False,
        "current": variable.get("current", _NOTHING_CHOSEN),
    }
    choice = {
        "multi": variable.get("multi", False),
        "includeAll": variable.get("includeAll", False),
        "allowCustomValue": variable.get("allowCustomValue", True),
        "options": variable.get("options") or [],
    }
    match variable["type"]:
        case "textbox":
            kind, extra = "TextVariable", {"query": variable["query"]}
        case "custom":
            kind, extra = "CustomVariable", {"query": variable["query"], **choice}
        case "datasource":
            kind = "DatasourceVariable"
            extra = {
                "pluginId": variable["query"],
                "refresh": _REFRESH[variable["refresh"]],
                "regex": "",
                **choice,
            }
        case "query":
            kind = "QueryVariable"
            extra = {
                "query": _query(variable["query"]),
                "definition": variable["definition"],
                "refresh": _REFRESH[variable["refresh"]],
                "sort": _SORT[variable["sort"]],
                "allValue": variable["allValue"],
                "regex": "",
                **choice,
            }
        case unknown:
            raise ValueError(f"no board has a variable of type {unknown}; add it here")
    return {"kind": kind, "spec": {**spec, **extra}}
