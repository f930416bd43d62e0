"""`sidelight config`: checks sidelight.yaml, and prints its schema and reference."""

from __future__ import annotations

from pathlib import Path

import click

from sidelight.collector.cli.options import config_option, fail, load_config


@click.group()
def config() -> None:
    """Check sidelight.yaml; print its schema and reference."""


@config.command(short_help="Print the JSON schema of sidelight.yaml.")
def schema() -> None:
    """Print the JSON schema of sidelight.yaml, for editors and other tools."""
    # Imports are inside the commands, so that --help takes no second.
    from sidelight.collector.app.configuration.schema import text

    click.echo(text(), nl=False)


@config.command()
def reference() -> None:
    """Print the reference of sidelight.yaml as Markdown."""
    from sidelight.collector.app.configuration.reference import page
    from sidelight.collector.app.configuration.schema import schema as current

    click.echo(page(current()), nl=False)


@config.command(short_help="Write a page for each receiver and destination.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def pages(directory: Path) -> None:
    """Write a Markdown page for each receiver and destination below DIRECTORY."""
    from sidelight.collector.app.configuration.pages import pages as generated
    from sidelight.collector.app.configuration.schema import schema as current

    for path, text in generated(current()):
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        click.echo(file)


@config.command(short_help="Report faults, or print the effective configuration.")
@config_option
def check(path: Path | None) -> None:
    """Report every fault of a configuration. Without faults, print the effective configuration.

    Faults are also ports that are used twice, unlikely URLs, missing certificates, secrets that
    are not set, and folders that this user cannot write. Nothing is created or connected to, and
    no secret is shown. `sidelight doctor` also checks that the destinations answer.

    Exit codes: 0 no fault, 2 faults.
    """
    loaded = load_config(path)
    # Imported late, so that faults of the file are reported at once.
    from sidelight.base.configuration.section import ConfigError
    from sidelight.collector.app.configuration.effective import effective
    from sidelight.collector.app.configuration.loading import origins
    from sidelight.collector.app.configuration.mistakes import mistakes
    from sidelight.collector.delivery.build import build_exporter
    from sidelight.collector.delivery.subscription_config import subscription_configs
    from sidelight.collector.processors.build import build as build_pipeline

    if lines := mistakes(loaded, origins(path)):
        fail("\n".join(lines), 2)
    try:
        # Some faults only show here: a price table, an extension, a header's name.
        build_pipeline(loaded.processors)
        for config in subscription_configs(loaded.destinations or ()):
            build_exporter(config).close()
    except ConfigError as error:
        fail(str(error), 2)
    source = path or "defaults and environment"
    click.echo(f"# {source}: no faults. Effective configuration:")
    click.echo(effective(loaded), nl=False)
