"""Shared by several commands: the option --config, and how a command fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from sidelight.collector.app.configuration.config import Config

config_option = click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="SIDELIGHT_CONFIG",
    help="The configuration, sidelight.yaml. Without it: defaults and SIDELIGHT_… variables.",
)


def load_config(path: Path | None) -> Config:
    """The configuration. Ends the process with 2 if it has faults."""
    # Imported late: `sidelight dashboards` runs without the collector's packages.
    from sidelight.base.configuration.section import ConfigError
    from sidelight.collector.app.configuration.loading import load

    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), 2)


def fail(message: str, code: int) -> NoReturn:
    """Print the message on standard error and end the process."""
    for line in message.splitlines():
        click.echo(f"sidelight: {line}", err=True)
    sys.exit(code)
