"""`sidelight log dead-letters`: what backends rejected for good, and how to send it again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sidelight.collector.cli.log.output import explained, pipe
from sidelight.collector.cli.options import config_option, fail, load_config

_directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The log's folder, instead of the configured one.",
)


@click.group("dead-letters", short_help="What backends rejected for good; send it again.")
def dead_letters() -> None:
    """Look at what backends rejected for good, and send it again once the cause is corrected.

    Dead letters are files in the log's folder, one or two for each destination. A letter holds
    what was rejected, usually one span, with the time, the status and the reason. All of it
    works beside a running collector and without one.

    \b
      sidelight log dead-letters ls
      sidelight log dead-letters cat phoenix | jq .reason | sort | uniq -c
      sidelight log dead-letters resend phoenix
    """


@dead_letters.command(short_help="How many there are, of which destination.")
@config_option
@_directory_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ls(path: Path | None, directory: Path | None, as_json: bool) -> None:
    """Count the dead letters of each destination: letters, items, times and statuses.

    "Partial" letters are requests of which the destination accepted some items, without saying
    which. The status `none` means that it gave no answer.

    Exit codes: 0 listed, 1 the folder cannot be read, 2 bad configuration.
    """
    from sidelight.collector.cli.log import letters

    with explained(), pipe():
        listed = letters.summaries(directory or load_config(path).log.directory)
        click.echo(letters.as_json(listed) if as_json else letters.as_text(listed))


@dead_letters.command(short_help="Print them with their requests.")
@click.argument("destination")
@config_option
@_directory_option
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many letters.")
def cat(destination: str, path: Path | None, directory: Path | None, limit: int | None) -> None:
    """Print the dead letters of DESTINATION as JSON lines, oldest first.

    A line holds time, signal, items, status, reason, and the request as OTLP/JSON. Reason and
    request may hold content: treat the output as you treat the data.

    \b
      sidelight log dead-letters cat phoenix --limit 1 | jq .
      sidelight log dead-letters cat langfuse.team-a | jq -r '[.time, .reason] | @tsv'

    Exit codes: 0 printed (or there are none), 1 the folder cannot be read, 2 bad configuration,
    130 interrupted.
    """
    from itertools import islice

    from sidelight.collector.cli.log import letters
    from sidelight.collector.delivery.dead_letter_files import letters_in
    from sidelight.collector.log.view import directories_for

    with explained(), pipe():
        folders = directories_for(directory or load_config(path).log.directory, letters.PURPOSE)
        found = (letter for folder in folders for letter in letters_in(folder, destination))
        for letter in islice(found, limit):
            sys.stdout.buffer.write(letters.as_line(letter))


@dead_letters.command(short_help="Send them again, to the destination that rejected them.")
@click.argument("destination")
@config_option
@_directory_option
@click.option("--partial", is_flag=True, help="Also those that were accepted in part.")
@click.option("--dry-run", is_flag=True, help="Only count what would be sent.")
def resend(
    destination: str, path: Path | None, directory: Path | None, partial: bool, dry_run: bool
) -> None:
    """Send the dead letters of DESTINATION again, after you have corrected what rejected them.

    DESTINATION is a name that `ls` prints. The command sends to it with the url, keys and
    headers of the configuration, and to no other destination. A letter is removed only once
    the destination has accepted it; what is rejected again stays. The command may be stopped
    and run again at any time: what was accepted is not sent a second time, apart from one
    letter if the command is killed.

    Letters of which the destination accepted a part are left out: it would get that part twice.
    --partial sends them whole.

    \b
      sidelight log dead-letters resend phoenix --dry-run
      sidelight log dead-letters resend phoenix

    Exit codes: 0 nothing is left, 1 some are left or the destination accepts nothing now, 2 bad
    options or configuration, 130 interrupted.
    """
    from sidelight.base.configuration.section import ConfigError
    from sidelight.collector.cli.log import letters

    config = load_config(path)
    with explained():
        try:
            wanted = letters.configured(config, destination)
            listed = [
                summary
                for summary in letters.summaries(directory or config.log.directory)
                if summary.destination == destination
            ]
        except ConfigError as error:
            fail(str(error), 2)
        count = sum(summary.letters for summary in listed)
        if not count:
            click.echo(f"no dead letters of {destination}")
            return
        if dry_run:
            click.echo(letters.as_text(listed))
            return
        try:
            with click.progressbar(length=count, label=destination, file=sys.stderr) as bar:
                results = [
                    letters.resend(
                        summary.directory,
                        wanted,
                        with_partial=partial,
                        progress=lambda: bar.update(1),
                    )
                    for summary in listed
                ]
        except ConfigError as error:
            fail(str(error), 2)
        except KeyboardInterrupt:
            fail("interrupted: what was accepted is removed, the rest stays; run it again", 130)
        lines, is_done = letters.told(destination, results, count)
        for line in lines:
            click.echo(line)
        sys.exit(0 if is_done else 1)
