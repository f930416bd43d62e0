"""The `sidelight` command: up, doctor, config, log, dashboards, demo."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from sidelight.collector.cli.config import config
from sidelight.collector.cli.log.commands import log
from sidelight.collector.cli.options import config_option, fail, load_config


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sidelight")
def sidelight() -> None:
    """See why an LLM request was slow or an answer bad.

    \b
    sidelight up        run the collector: OTLP in, Phoenix, Langfuse, OTLP and Prometheus out
    sidelight doctor    check every configured part and say what to do
    sidelight config    the schema of sidelight.yaml, and whether a file is right
    sidelight log       look into the durable log, send again what it holds
    sidelight demo      a whole RAG app, vLLM and Phoenix on this machine, in a few minutes
    """


@sidelight.command()
@config_option
def up(path: Path | None) -> None:
    """Run the collector until Ctrl-C or SIGTERM.

    Without a configuration it listens on loopback (OTLP/HTTP 4318, OTLP/gRPC 4317, /metrics
    9464), keeps its log in ./sidelight-data, and sends to Phoenix if one answers on
    localhost:6006 and to Langfuse if LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are set.

    Point any OpenTelemetry exporter at it:

    \b
      export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318

    SIGHUP reads the configuration again. With `workers` above 1 several processes share the
    ports.

    Exit codes: 0 stopped by a signal, 1 cannot start, 2 bad configuration.
    """
    # Until it can be obeyed: it would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    config = load_config(path)
    # Imported late, so that --help and faults of the configuration answer at once.
    from sidelight.collector.app import run

    sys.exit(run.up(config, path))


@sidelight.command(short_help="Check every configured part and say what to do.")
@config_option
def doctor(path: Path | None) -> None:
    """Check every configured part, and say what to do about what is wrong.

    Exit codes: 0 all is well (warnings count as well), 1 something fails, 2 bad configuration.
    """
    config = load_config(path)
    from rich.console import Console

    from sidelight.base.check import exit_code
    from sidelight.collector.doctor.report import render
    from sidelight.collector.doctor.runner import run

    checks = run(config)
    render(checks, Console())
    sys.exit(exit_code(checks))


@sidelight.group()
def dashboards() -> None:
    """Generate Grafana dashboards."""


@dashboards.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def write(directory: Path) -> None:
    """Write the dashboards as JSON to DIRECTORY, to be imported or provisioned in Grafana."""
    try:
        from sidelight.dashboards.publish.files import write as write_dashboards
    except ImportError as error:
        fail(str(error), 2)
    try:
        for file in write_dashboards(directory):
            click.echo(file)
    except OSError as error:
        fail(f"{error.filename or directory}: {error.strerror}", 1)


@sidelight.command(short_help="Watch a whole RAG app on this machine.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sidelight-demo"),
    show_default=True,
    help="Everything the demo writes goes here; it is emptied first.",
)
@click.option("--vllm", metavar="URL", help="Use a vLLM of your own instead of the tiny one.")
@click.option("--keep", is_flag=True, help="Go on serving until Ctrl-C, to look around.")
@click.option("-v", "--verbose", is_flag=True, help="Show where each process logs.")
def demo(directory: Path, vllm: str | None, keep: bool, verbose: bool) -> None:
    """A RAG app, Milvus Lite, a tiny vLLM, Phoenix and Prometheus on this machine, observed.

    It asks questions, then queries back what arrived, prints a table of what it saw and where
    to look, and ends all it started. The first run installs vLLM and Phoenix in environments
    of their own, in the user's cache.

    Exit codes: 0 everything was found, 1 something is missing (it says what), 2 it could not
    run, 130 interrupted.
    """
    from sidelight.demo.run import DemoOptions, run

    sys.exit(run(DemoOptions(directory=directory, vllm_url=vllm, keep=keep, verbose=verbose)))


sidelight.add_command(log)
sidelight.add_command(config)
