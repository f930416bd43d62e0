"""What several of the commands share: --config, and how a command fails."""

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
    help="sidelight.yaml; without it defaults and SIDELIGHT_… variables count.",
)


def load_config(path: Path | None) -> Config:
    """The configuration; ends the process with 2 if it cannot be used."""
    # Imported late: `sidelight dashboards` needs nothing of the collector's.
    from sidelight.base.configuration.section import ConfigError
    from sidelight.collector.app.configuration.loading import load

    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), 2)


def fail(message: str, code: int) -> NoReturn:
    """Say why on standard error and end the process."""
    for line in message.splitlines():
        click.echo(f"sidelight: {line}", err=True)
    sys.exit(code)
