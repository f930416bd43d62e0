"""`sidelight dashboards`: writes dashboards and alert rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from sidelight.collector.cli.options import fail

_slo_option = click.option(
    "--slo",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of objectives instead of the usual ones; see docs/slo.md.",
)
_prefix_option = click.option(
    "--metric-prefix",
    metavar="PREFIX",
    default="",
    help="What stands before vLLM's metric names in your Prometheus, for instance kserve_.",
)


@click.group()
def dashboards() -> None:
    """Generate Grafana dashboards and Prometheus alerts."""


@dashboards.command(short_help="Write dashboards and alert rules.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--grafana", metavar="URL", default="", help="Your Grafana, for links in alerts.")
@click.option(
    "--docs", metavar="URL", default="", help="Where docs/ is served, for links to runbooks."
)
@_slo_option
@_prefix_option
@click.option(
    "--schema",
    type=click.Choice(["v1", "v2"]),
    default="v1",
    show_default=True,
    help="Grafana's dashboard schema; v2 needs Grafana 13 or newer.",
)
def write(
    directory: Path,
    grafana: str,
    docs: str,
    slo: Path | None,
    metric_prefix: str,
    schema: Literal["v1", "v2"],
) -> None:
    """Write dashboards and alert rules to DIRECTORY.

    \b
    *.json                         dashboards, to import or provision in Grafana
    sidelight-configmaps.yaml      the same, for the sidecar of Grafana's Helm chart
    grafana-datasource.yaml        a data source with exemplars
    grafana-dashboards.yaml        tells Grafana where the *.json are
    sidelight-rules.yaml           alerts, for rule_files of Prometheus
    sidelight-prometheusrule.yaml  the same, for Prometheus Operator
    grafana-alerts.yaml            alerts that Grafana evaluates, without those of objectives
    """
    try:
        from sidelight.dashboards.publish.files import write as write_files
        from sidelight.dashboards.publish.links import Links
        from sidelight.dashboards.slo.objective import ObjectiveError, read_objectives
    except ImportError as error:
        fail(str(error), 2)
    try:
        objectives = read_objectives(slo) if slo else None
        links = Links(grafana, docs)
        for file in write_files(directory, links, objectives, metric_prefix, schema):
            click.echo(file)
    except ObjectiveError as error:
        fail(str(error), 2)
    except OSError as error:
        fail(f"{error.filename or directory}: {error.strerror}", 1)


@dashboards.command(short_help="Ask a Prometheus every query, and say why one returns nothing.")
@click.option(
    "--prometheus",
    metavar="URL",
    default="http://localhost:9090",
    show_default=True,
    help="The Prometheus that scrapes vLLM and the collector.",
)
@click.option("--job", metavar="REGEX", default="", help="vLLM's job, if there are several.")
@_slo_option
@_prefix_option
def check(prometheus: str, job: str, slo: Path | None, metric_prefix: str) -> None:
    """Ask a Prometheus every query of every panel, variable, rule and alert.

    A query that returns nothing is right if nothing has happened, or if nothing here exports
    what it reads. Otherwise the check says what is missing: a metric, a label, a bucket, or a
    metric under another prefix or of another release.

    Exit codes: 0 every query can return data, 1 one cannot or Prometheus does not answer, 2 the
    file of objectives has faults.
    """
    try:
        from sidelight.dashboards.check import outcomes
        from sidelight.dashboards.check.prometheus_api import PrometheusApi, PrometheusError
        from sidelight.dashboards.slo.objective import ObjectiveError, read_objectives
    except ImportError as error:
        fail(str(error), 2)
    try:
        objectives = read_objectives(slo) if slo else None
        found = outcomes.check(PrometheusApi(prometheus), job, objectives, metric_prefix)
    except ObjectiveError as error:
        fail(str(error), 2)
    except (PrometheusError, OSError) as error:
        fail(str(error), 1)
    for line in outcomes.report(found):
        click.echo(line)
    sys.exit(0 if outcomes.all_is_well(found) else 1)


@dashboards.command(short_help="Save the dashboards in a Grafana over its API.")
@click.option("--grafana", metavar="URL", default="http://localhost:3000", show_default=True)
@click.option(
    "--token",
    envvar="GRAFANA_TOKEN",
    required=True,
    help="Token of a service account; better given in GRAFANA_TOKEN than here.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and save nothing.")
@_prefix_option
def push(grafana: str, token: str, dry_run: bool, metric_prefix: str) -> None:
    """Save the dashboards in a Grafana.

    New ones go into the folder Sidelight, which is created if it is missing. Others stay in the
    folder they are in. What is as generated already is not saved again. Permissions are kept.
    """
    try:
        from sidelight.dashboards.publish import push as pushing
        from sidelight.dashboards.publish.files import render_boards
        from sidelight.dashboards.publish.grafana_api import GrafanaApi, GrafanaError
        from sidelight.dashboards.publish.metric_prefix import with_prefix
    except ImportError as error:
        fail(str(error), 2)
    boards = {name: with_prefix(text, metric_prefix) for name, text in render_boards().items()}
    api = GrafanaApi(grafana, token)
    try:
        changes = pushing.plan(boards, api)
        if not dry_run:
            pushing.apply(changes, api)
    except GrafanaError as error:
        fail(str(error), 1)
    for line in pushing.report(changes, with_diff=dry_run):
        click.echo(line)


@dashboards.command(short_help="Print a ScaledObject of KEDA for a deployment of vLLM.")
@click.argument("deployment")
@click.option("--job", required=True, help="The Prometheus job that scrapes the deployment.")
@click.option(
    "--prometheus",
    metavar="URL",
    default="http://prometheus.monitoring:9090",
    show_default=True,
    help="The Prometheus, as KEDA reaches it.",
)
@click.option(
    "--requests-per-replica",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Running and waiting requests that one replica is to have.",
)
@click.option("--min", "minimum", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--max", "maximum", type=click.IntRange(min=1), default=8, show_default=True)
@_prefix_option
def scaler(
    deployment: str,
    job: str,
    prometheus: str,
    requests_per_replica: int,
    minimum: int,
    maximum: int,
    metric_prefix: str,
) -> None:
    """Print a ScaledObject of KEDA for DEPLOYMENT.

    Replicas follow the requests that run and wait, and the mean use of the KV cache.
    """
    try:
        from sidelight.dashboards.publish.scaled_object import Scaling, scaled_object
    except ImportError as error:
        fail(str(error), 2)
    scaling = Scaling(
        deployment, prometheus, {"job": job}, requests_per_replica, minimum, maximum, metric_prefix
    )
    click.echo(scaled_object(scaling), nl=False)
