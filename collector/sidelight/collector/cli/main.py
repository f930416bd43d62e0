"""The `sidelight` command: up, doctor, config, log, dashboards, inject, injector, demo."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from sidelight.collector.cli.config import config
from sidelight.collector.cli.dashboards import dashboards
from sidelight.collector.cli.inject import inject
from sidelight.collector.cli.injector import injector
from sidelight.collector.cli.log.commands import log
from sidelight.collector.cli.options import config_option, load_config


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sidelight")
def sidelight() -> None:
    """See why an LLM request was slow or an answer was bad.

    Start with `sidelight demo` to see it at work, or with `sidelight up` to run the collector.
    """


@sidelight.command(short_help="Run the collector.")
@config_option
@click.option(
    "--retry",
    "retries",
    is_flag=True,
    help="If it cannot start, try again instead of ending. For a sidecar: a pod's containers start "
    "only while its sidecars run.",
)
def up(path: Path | None, retries: bool) -> None:
    """Run the collector until Ctrl-C or SIGTERM.

    Without a configuration it listens on loopback (OTLP/HTTP 4318, OTLP/gRPC 4317, /metrics
    9464) and keeps its log in ./sidelight-data. It sends to Phoenix if one answers on
    localhost:6006, and to Langfuse if LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are set.

    Send to it from any OpenTelemetry SDK:

    \b
      export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318

    SIGHUP reloads the configuration. With `workers` above 1, several processes share the ports.

    Exit codes: 0 stopped by a signal, 1 cannot start, 2 faults in the configuration.
    """
    # Ignored until the service can reload: the default action would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def run_once() -> int:
        config = load_config(path)
        # Imported late, so that --help and faults of the configuration appear at once.
        from sidelight.collector.app import run

        return run.up(config, path)

    if retries:
        from sidelight.collector.cli.retry import or_try_again

        or_try_again(run_once)
    sys.exit(run_once())


@sidelight.command(short_help="Check every configured part, or the vLLM of this pod.")
@config_option
@click.option("--pod", is_flag=True, help="Say whether the vLLM beside this collector is observed.")
def doctor(path: Path | None, pod: bool) -> None:
    """Check every configured part, and say how to correct what is wrong.

    With --pod, in the container of the collector that was injected into a pod: what arrived of
    the vLLM beside it, and where to look if nothing did.

    \b
      sidelight doctor
      kubectl exec POD -c sidelight -- sidelight doctor --pod

    Exit codes: 0 no check failed (there may be warnings), 1 a check failed, 2 faults in the
    configuration.
    """
    config = load_config(path)
    from rich.console import Console

    from sidelight.base.check import exit_code
    from sidelight.collector.doctor import runner
    from sidelight.collector.doctor.pod import look
    from sidelight.collector.doctor.report import render

    checks = look.run(config) if pod else runner.run(config)
    render(checks, Console())
    sys.exit(exit_code(checks))


@sidelight.command(short_help="Run a RAG app with vLLM and Phoenix, and show its traces.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sidelight-demo"),
    show_default=True,
    help="Folder for all files of the demo. It is emptied first.",
)
@click.option("--vllm", metavar="URL", help="Use your own vLLM instead of a tiny one.")
@click.option("--phoenix", metavar="URL", help="Use your own Phoenix.")
@click.option("--langfuse", metavar="URL", help="Send to your Langfuse as well.")
@click.option("--keep", is_flag=True, help="Keep serving until Ctrl-C, to look around.")
@click.option("-v", "--verbose", is_flag=True, help="Show where the processes log.")
def demo(
    directory: Path,
    vllm: str | None,
    phoenix: str | None,
    langfuse: str | None,
    keep: bool,
    verbose: bool,
) -> None:
    """Run a RAG app with Milvus Lite, a tiny vLLM, Phoenix and Prometheus on this machine.

    The demo asks questions, reads back what arrived in Phoenix and Prometheus, and prints what
    it found and where to look. Then it stops everything it started. The first run installs
    vLLM and Phoenix in environments of their own, in your cache folder.

    Keys of your own backends are read from PHOENIX_API_KEY, LANGFUSE_PUBLIC_KEY and
    LANGFUSE_SECRET_KEY. The demo reads back from them, too.

    Exit codes: 0 everything was found, 1 something is missing, 2 the demo could not run,
    130 interrupted.
    """
    from sidelight.demo.run import DemoOptions, run

    options = DemoOptions(
        directory=directory,
        vllm_url=vllm,
        phoenix_url=phoenix,
        langfuse_url=langfuse,
        keep=keep,
        verbose=verbose,
    )
    sys.exit(run(options))


sidelight.add_command(log)
sidelight.add_command(config)
sidelight.add_command(dashboards)
sidelight.add_command(inject)
sidelight.add_command(injector)
