"""How boards look in Grafana: turns the plain data of a board into the v1 dashboard schema."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase

from sidelight.dashboards.boards.board import (
    Annotation,
    Board,
    LabelVariable,
    OptionsVariable,
    TextVariable,
    Variable,
    VariableOption,
)
from sidelight.dashboards.panels.panel import (
    BYTES,
    COUNT,
    COUNTS_PER_SECOND,
    EVENTS_PER_SECOND,
    HALF,
    MILLISECONDS,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    TOKENS,
    WATTS,
    Panel,
    PanelKind,
    PanelQuery,
)
from sidelight.dashboards.publish.links import Links, PanelLink, panel_links
from sidelight.dashboards.publish.panel_metrics import panel_metrics
from sidelight.dashboards.publish.sdk import (
    build_common,
    common,
    heatmap,
    heatmap_models,
    prometheus,
    stat,
    timeseries,
    v1,
)

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRID_WIDTH = 24
# Of a third of the usual height.
MAX_LEGEND_LINES = 3

# What an axis reaches at least, small against any value worth a look.
_SOFT_MAXIMA = {
    SECONDS: 0.01,
    MILLISECONDS: 10,
    SHARE: 0.1,
    REQUESTS_PER_SECOND: 0.1,
    EVENTS_PER_SECOND: 0.1,
    COUNTS_PER_SECOND: 1,
    TOKENS: 1,
    COUNT: 1,
    BYTES: 1024,
    WATTS: 1,
}


def dashboard(board: Board, links: Links | None = None) -> v1.Dashboard:
    """The board in Grafana's v1 schema, with every id and refId set."""
    return v1.Dashboard(
        uid=board.uid,
        title=board.title,
        description=board.description,
        tags=["sidelight", "llm", "vllm"],
        timezone="browser",
        editable=False,
        graph_tooltip=v1.DashboardCursorSync.CROSSHAIR,
        time=v1.DashboardDashboardTime(from_val="now-1h", to="now"),
        refresh="30s",
        panels=list(_panels(board, links or Links())),
        templating=v1.DashboardDashboardTemplating(
            list_val=[
                _without_interval(variable)
                for variable in (_datasource_variable(), *map(_variable, board.variables))
            ]
        ),
        annotations=v1.AnnotationContainer(list_val=list(map(_annotation, board.annotations))),
        links=[_boards_link(), _traces_link()],
    )


def panel_ids(board: Board) -> dict[str, int]:
    """The id that each panel has in Grafana, by title."""
    # As `_panels` numbers them, without drawing them: each alert asks for one.
    titles = (
        title for row in board.rows for title in (row.title, *(panel.title for panel in row.panels))
    )
    return {title: number for number, title in enumerate(titles, start=1)}


def _panels(board: Board, links: Links) -> Iterator[v1.Panel | v1.RowPanel]:
    next_id, y = 1, 0
    for row in board.rows:
        yield v1.RowPanel(
            title=row.title,
            id_val=next_id,
            grid_pos=v1.GridPos(h=1, w=GRID_WIDTH, x=0, y=y),
        )
        next_id, y = next_id + 1, y + 1
        x = line_height = 0
        for panel in row.panels:
            if x + panel.width > GRID_WIDTH:
                x, y, line_height = 0, y + line_height, 0
            grafana_panel = _panel(panel)
            grafana_panel.id_val = next_id
            grafana_panel.grid_pos = v1.GridPos(h=panel.height, w=panel.width, x=x, y=y)
            grafana_panel.links = [
                _panel_link(link) for link in panel_links(board, row, panel, links)
            ]
            next_id, x = next_id + 1, x + panel.width
            line_height = max(line_height, panel.height)
            yield grafana_panel
        y += line_height


def _panel(panel: Panel) -> v1.Panel:
    grafana_panel = _drawn(panel)
    grafana_panel.title = panel.title
    metrics = ", ".join(f"`{metric.shown_name}`" for metric in panel_metrics(panel))
    grafana_panel.description = f"{panel.description}\n\nMetrics: {metrics}."
    grafana_panel.datasource = DATASOURCE
    grafana_panel.targets = [
        _query(query, ascii_uppercase[index], panel.kind)
        for index, query in enumerate(panel.queries)
    ]
    grafana_panel.field_config = grafana_panel.field_config or v1.FieldConfigSource()
    defaults = grafana_panel.field_config.defaults
    defaults.unit = panel.unit
    defaults.min_val = 0
    defaults.max_val = panel.maximum
    defaults.thresholds = v1.ThresholdsConfig(
        mode=v1.ThresholdsMode.ABSOLUTE,
        steps=[
            v1.Threshold(value=None, color=panel.base_colour),
            *(
                v1.Threshold(value=threshold.value, color=threshold.colour)
                for threshold in panel.thresholds
            ),
        ],
    )
    defaults.no_value = panel.empty_text or None
    if panel.kind == "heatmap":
        return grafana_panel
    if panel.kind == "stat":
        defaults.color = v1.FieldColor(mode=v1.FieldColorModeId.THRESHOLDS)
        defaults.no_value = panel.empty_text or "no requests"
    else:
        defaults.color = v1.FieldColor(mode=v1.FieldColorModeId.PALETTE_CLASSIC)
    return grafana_panel


def _drawn(panel: Panel) -> v1.Panel:
    match panel.kind:
        case "stat":
            return _stat(panel)
        case "heatmap":
            return _heatmap(panel)
        case "timeseries":
            return _timeseries(panel)


def _heatmap(panel: Panel) -> v1.Panel:
    """Buckets as Prometheus has them; the SDK leaves the colours and the exponent empty."""
    return (
        heatmap.Panel()
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .fill("dark-orange")
            .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .build()
    )


def _stat(panel: Panel) -> v1.Panel:
    drawn = (
        stat.Panel()
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if panel.shows_names:
        # One below the other: side by side, Grafana shrinks sentences until nobody can read them.
        drawn = (
            drawn.text_mode(common.BigValueTextMode.NAME)
            .orientation(common.VizOrientation.HORIZONTAL)
            .text(build_common.VizTextDisplayOptions().value_size(14))
        )
    return drawn.build()


def _timeseries(panel: Panel) -> v1.Panel:
    lines = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(30 if panel.stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            build_common.VizLegendOptions()
            .show_legend(True)
            # A table of series would take the plot's place.
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .calcs(["max", "lastNotNull"] if _has_room_for_values(panel) else [])
        )
        .tooltip(
            build_common.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if panel.stacked:
        lines = lines.stacking(
            build_common.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        )
    if panel.maximum is None:
        lines = lines.axis_soft_max(panel.soft_maximum or _SOFT_MAXIMA[panel.unit])
    if panel.thresholds:
        lines = lines.thresholds_style(
            build_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    return lines.build()


def _has_room_for_values(panel: Panel) -> bool:
    """Whether a legend with values beside the names shows all of them without scrolling.

    In a narrow panel each series then takes a line, and Grafana gives a legend a third of the
    height. Values are in the tooltip too, names are not.
    """
    is_fixed = not any("{{" in query.legend for query in panel.queries)
    return panel.width >= HALF or (is_fixed and len(panel.queries) <= MAX_LEGEND_LINES)


def _query(query: PanelQuery, ref_id: str, kind: PanelKind) -> prometheus.Dataquery:
    instant = kind == "stat"
    return prometheus.Dataquery(
        datasource=DATASOURCE,
        ref_id=ref_id,
        expr=str(query.expression),
        legend_format=query.legend,
        editor_mode=prometheus.QueryEditorMode.CODE,
        exemplar=query.exemplars,
        instant=instant,
        range_val=not instant,
        format_val=prometheus.PromQueryFormat.HEATMAP if kind == "heatmap" else None,
    )


def _without_interval(variable: v1.VariableModel) -> v1.VariableModel:
    """The SDK gives every variable the keys of interval variables, which Grafana's schema lacks."""
    variable.auto = variable.auto_min = variable.auto_count = None
    return variable


def _datasource_variable() -> v1.VariableModel:
    return v1.VariableModel(
        type_val=v1.VariableType.DATASOURCE,
        name="datasource",
        label="Data source",
        description="The Prometheus that scrapes Sidelight's collector and vLLM.",
        query="prometheus",
        refresh=v1.VariableRefresh.ON_DASHBOARD_LOAD,
    )


def _variable(variable: Variable) -> v1.VariableModel:
    match variable:
        case LabelVariable():
            query = f"label_values({variable.selector}, {variable.label})"
            return v1.VariableModel(
                type_val=v1.VariableType.QUERY,
                name=variable.name,
                label=variable.title,
                description=variable.description,
                datasource=DATASOURCE,
                definition=query,
                query={"query": query, "refId": f"variable-{variable.name}", "qryType": 1},
                refresh=v1.VariableRefresh.ON_TIME_RANGE_CHANGED,
                sort=v1.VariableSort.ALPHABETICAL_ASC,
                multi=True,
                include_all=variable.offers_all,
                all_value=variable.all_value,
                current=_all_option() if variable.offers_all else None,
            )
        case OptionsVariable():
            return v1.VariableModel(
                type_val=v1.VariableType.CUSTOM,
                name=variable.name,
                label=variable.title,
                description=variable.description,
                query=", ".join(f"{option.text} : {option.value}" for option in variable.options),
                allow_custom_value=False,
                current=_option(variable.default, selected=True),
                options=[
                    _option(option, selected=option == variable.default)
                    for option in variable.options
                ],
            )
        case TextVariable():
            chosen = _option(VariableOption(variable.default, variable.default), selected=True)
            return v1.VariableModel(
                type_val=v1.VariableType.TEXTBOX,
                name=variable.name,
                label=variable.title,
                description=variable.description,
                query=variable.default,
                current=chosen,
                options=[chosen],
            )


def _option(option: VariableOption, *, selected: bool) -> v1.VariableOption:
    return v1.VariableOption(selected=selected, text=option.text, value=option.value)


def _all_option() -> v1.VariableOption:
    return v1.VariableOption(selected=True, text=["All"], value=["$__all"])


def _annotation(annotation: Annotation) -> v1.AnnotationQuery:
    query = v1.AnnotationQuery(
        name=annotation.name,
        datasource=DATASOURCE,
        enable=True,
        hide=False,
        icon_color=annotation.colour,
        target=prometheus.Dataquery(
            datasource=DATASOURCE,
            ref_id="A",
            expr=str(annotation.expression),
            legend_format=annotation.text,
            range_val=True,
        ),
        title_format=annotation.name,
        text_format=annotation.text,
        tag_keys="instance",
    )
    # The SDK always writes "inControlsMenu", which hides the toggle in a menu.
    query.placement = None  # type: ignore[assignment]
    return query


def _panel_link(panel_link: PanelLink) -> v1.DashboardLink:
    link = v1.DashboardLink(
        title=panel_link.title,
        type_val=v1.DashboardLinkType.LINK,
        icon="external link",
        url=panel_link.url,
        target_blank=panel_link.opens_tab,
    )
    link.placement = None  # type: ignore[assignment]
    return link


def _boards_link() -> v1.DashboardLink:
    link = v1.DashboardLink(
        title="Sidelight",
        type_val=v1.DashboardLinkType.DASHBOARDS,
        icon="dashboard",
        tooltip="The other dashboards of Sidelight, for the same time and selection",
        tags=["sidelight"],
        as_dropdown=True,
        include_vars=True,
        keep_time=True,
    )
    link.placement = None  # type: ignore[assignment]
    return link


def _traces_link() -> v1.DashboardLink:
    link = v1.DashboardLink(
        title="Traces",
        type_val=v1.DashboardLinkType.LINK,
        icon="external link",
        tooltip="Open the trace UI; exemplars link to single traces",
        url="${traces}",
        target_blank=True,
    )
    link.placement = None  # type: ignore[assignment]
    return link
