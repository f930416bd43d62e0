"""`sidelight log`: look into the durable log, and send again what it still holds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sidelight.collector.cli.log.dead_letters import dead_letters
from sidelight.collector.cli.log.output import explained, pipe
from sidelight.collector.cli.options import config_option, fail, load_config

if TYPE_CHECKING:
    from sidelight.collector.cli.log.replaying import Plan
    from sidelight.collector.log.view import LogView

_directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The log's folder, instead of the configured one.",
)
_ITEMS = {"traces": "spans", "metrics": "metrics", "logs": "log records"}
_TIMES = "15m, 2h, 3d (ago) or 2026-11-23T13:30:00Z"


def _on_folders(command: Callable[..., None]) -> Callable[..., None]:
    return config_option(_directory_option(command))


@click.group(short_help="Look into the durable log; send again what it holds.")
def log() -> None:
    """Look into the durable log, and send again what it still holds.

    All of it works on a folder that a running collector has open, and on one that none has.
    """


@log.command(short_help="Segments, damage, cursors and their lag.")
@_on_folders
@click.option("--check", is_flag=True, help="Read every byte and compare checksums.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ls(path: Path | None, directory: Path | None, check: bool, as_json: bool) -> None:
    """Segments with their records, times and damage; cursors with what lies before them.

    Without --check only headers are read, which is quick and does not see damage in a payload.
    "Unfinished" bytes at the end are being written just now, or were torn by a crash and are
    cut at the next start. A cursor is behind by all signals, wanted by its destination or not.

    \b
      sidelight log ls
      sidelight log ls --check --directory /var/lib/sidelight
      sidelight log ls --json | jq '.folders[].cursors'

    Exit codes: 0 no damage seen, 1 damage or the folder cannot be read, 2 bad configuration.
    """
    from sidelight.collector.cli.log import listing

    with explained():
        found = [
            listing.describe(each, check=check, now_ns=time.time_ns())
            for each in _logs(path, directory)
        ]
        if as_json:
            click.echo(json.dumps({"folders": found}, indent=2))
        else:
            click.echo("\n\n".join(map(listing.render, found)))
    sys.exit(1 if any(map(listing.is_damaged, found)) else 0)


@log.command(short_help="Print stored requests as OTLP/JSON.")
@_on_folders
@click.option("--signal", type=click.Choice(["traces", "metrics", "logs"]), multiple=True)
@click.option("--since", metavar="TIME", help=f"Stored then or later: {_TIMES}.")
@click.option("--until", metavar="TIME", help="Stored before.")
@click.option("--trace-id", metavar="HEX", help="Only this trace's spans and log records.")
@click.option("--segment", type=int, help="Only this segment, as `ls` names it.")
@click.option("--from", "start", metavar="SEGMENT:OFFSET", help="From this position on.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many requests.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "protobuf"]),
    default="json",
    show_default=True,
    help="Protobuf: each request behind its length in four bytes, big-endian.",
)
def cat(path: Path | None, directory: Path | None, **options: Any) -> None:
    """Print what is stored: one OTLP request a line, oldest first.

    What is stored has been processed: foreign spans are canonical, content is cut, hashed or
    masked as configured. What was allowed to be kept stands there in full: treat the output as
    you treat the data. Damaged records are passed over.

    \b
      sidelight log cat --since 15m --signal traces --limit 3 | jq .
      sidelight log cat --trace-id 4bf92f3577b34da6a3ce929d0e0e4736
      sidelight log cat --format protobuf > requests.binpb

    Exit codes: 0 printed (or nothing fits), 1 the folder cannot be read, 2 bad options or
    configuration, 130 interrupted.
    """
    from sidelight.collector.cli.log.printing import chosen, encoded

    with explained():
        wanted = _wanted(options)
        with pipe():
            left = wanted.limit
            for each in _logs(path, directory):
                for signal, body in chosen(each, wanted):
                    if left is not None:
                        if left == 0:
                            return
                        left -= 1
                    sys.stdout.buffer.write(encoded(signal, body, options["form"]))


@log.command(short_help="Send a destination again what the log still holds.")
@click.argument("destination")
@_on_folders
@click.option("--since", metavar="TIME", help=f"From what was stored then: {_TIMES}.")
@click.option("--from", "start", metavar="SEGMENT:OFFSET", help="From this position, see `ls`.")
@click.option("--all", "everything", is_flag=True, help="From the oldest record there is.")
@click.option("--dry-run", is_flag=True, help="Only count what would be sent again.")
def replay(
    destination: str,
    path: Path | None,
    directory: Path | None,
    since: str | None,
    start: str | None,
    everything: bool,
    dry_run: bool,
) -> None:
    """Send DESTINATION again what it has had, for instance if it accepted and then lost it.

    DESTINATION is a cursor's name, as `sidelight log ls` prints it. Its cursor is set back; other
    destinations notice nothing. A collector that runs is asked to do it and goes on from there;
    without one it happens at the next start. How far back the log reaches is for
    log.keep_seconds and log.keep_bytes to say.

    Phoenix keeps the first of two equal spans. Langfuse and most other backends count a span
    that comes again as another one: first delete there what is to come again.

    \b
      sidelight log replay phoenix --since 30m --dry-run
      sidelight log replay phoenix --since 2026-11-23T13:30:00Z
      sidelight log replay langfuse.team-a --from 1729:0

    Exit codes: 0 done or nothing to do, 1 it could not be done, 2 bad options or configuration.
    """
    from sidelight.collector.cli.log import replaying
    from sidelight.collector.cli.log.folders import CommandError, parse_position, parse_time

    if (since is not None) + (start is not None) + everything != 1:
        fail("say from where: one of --since TIME, --from SEGMENT:OFFSET and --all", 2)
    with explained():
        since_ns = None if since is None else parse_time(since, datetime.now(UTC))
        place = None if start is None else parse_position(start)
        logs = _logs(path, directory)
        if place is not None and len(logs) > 1:
            names = ", ".join(str(each.directory) for each in logs)
            raise CommandError(f"--from needs one log folder, --directory one of: {names}", 2)
        plans = [replaying.plan(each, destination, since_ns=since_ns, start=place) for each in logs]
        for each in plans:
            _tell(each, destination, dry_run=dry_run)
            if each.records and not dry_run:
                by_collector = replaying.carry_out(each, destination)
                click.echo(
                    "the running collector sends it now"
                    if by_collector
                    else "the next start of the collector sends it"
                )


def _tell(plan: Plan, destination: str, *, dry_run: bool) -> None:
    from sidelight.collector.cli.log.folders import show_time

    if not plan.records:
        click.echo(f"{plan.log.directory}: nothing that {destination} has had is left from then on")
        return
    counts = ", ".join(f"{count:,} {_ITEMS[signal]}" for signal, count in plan.items.items())
    click.echo(
        f"{plan.log.directory}: {destination} {'would be' if dry_run else 'is'} sent {counts} "
        f"again, stored from {show_time(plan.first_ns)} on, {plan.start} to {plan.cursor}, "
        "less what its filters withhold"
    )


def _wanted(options: dict[str, Any]) -> Any:
    from sidelight.collector.cli.log.folders import parse_position, parse_time
    from sidelight.collector.cli.log.printing import Wanted
    from sidelight.otlp.signals import SIGNALS

    now = datetime.now(UTC)
    since, until, start = options["since"], options["until"], options["start"]
    return Wanted(
        signals=frozenset(options["signal"] or SIGNALS),
        since_ns=None if since is None else parse_time(since, now),
        until_ns=None if until is None else parse_time(until, now),
        trace_id=_trace_id(options["trace_id"]),
        segment=options["segment"],
        start=None if start is None else parse_position(start),
        limit=options["limit"],
    )


def _trace_id(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 16:
        fail(f"--trace-id {text!r}: a trace id has 32 hexadecimal digits", 2)
    return found


def _logs(path: Path | None, directory: Path | None) -> list[LogView]:
    from sidelight.collector.cli.log.folders import find_logs

    return find_logs(directory or load_config(path).log.directory)


log.add_command(dead_letters)
