"""`sidelight config`: the schema of sidelight.yaml, its reference, and whether a file is right."""

from __future__ import annotations

from pathlib import Path

import click

from sidelight.collector.cli.options import config_option, fail, load_config


@click.group()
def config() -> None:
    """Look at the configuration and its schema."""


@config.command(short_help="Print the JSON schema of sidelight.yaml.")
def schema() -> None:
    """Print the JSON schema of sidelight.yaml, for editors and other tools."""
    from sidelight.collector.app.configuration.schema import text

    click.echo(text(), nl=False)


@config.command()
def reference() -> None:
    """Print the reference of sidelight.yaml as Markdown."""
    from sidelight.collector.app.configuration.reference import page
    from sidelight.collector.app.configuration.schema import schema as current

    click.echo(page(current()), nl=False)


@config.command(short_help="Write the pages of all receivers and destinations.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def pages(directory: Path) -> None:
    """Write a Markdown page for each receiver and destination below DIRECTORY."""
    from sidelight.collector.app.configuration.pages import pages as made
    from sidelight.collector.app.configuration.schema import schema as current

    for path, text in made(current()):
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        click.echo(file)


@config.command(short_help="Say what is wrong with a configuration, or what it comes to.")
@config_option
def check(path: Path | None) -> None:
    """Say every fault of a configuration, or print all that would be used, as YAML.

    Nothing is connected, and no secret is shown. `sidelight doctor` looks further: whether
    the destinations answer.

    Exit codes: 0 it can be used, 2 it cannot.
    """
    found = load_config(path)
    from sidelight.base.configuration.section import ConfigError
    from sidelight.collector.app.configuration.effective import effective
    from sidelight.collector.delivery.build import build_exporter
    from sidelight.collector.delivery.subscription_config import subscription_configs
    from sidelight.collector.processors.build import build as build_pipeline

    try:
        build_pipeline(found.processors)
        for config in subscription_configs(found.destinations or ()):
            build_exporter(config).close()
    except ConfigError as error:
        fail(str(error), 2)
    where = path or "defaults and environment"
    click.echo(f"# {where}: no fault; this would be used")
    click.echo(effective(found), nl=False)
