"""What `sidelight log dead-letters` shows, and the resend of one destination."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidelight.collector.app import detect
from sidelight.collector.app.configuration.config import Config
from sidelight.collector.cli.log.folders import CommandError
from sidelight.collector.cli.log.listing import table
from sidelight.collector.delivery.build import build_exporter
from sidelight.collector.delivery.dead_letter_files import (
    DeadLetter,
    ResendFiles,
    ResendRunningError,
    destinations_in,
    letters_in,
)
from sidelight.collector.delivery.dead_letters import DeadLetters
from sidelight.collector.delivery.resend import Resend, Resent
from sidelight.collector.delivery.subscription_config import (
    SubscriptionConfig,
    subscription_configs,
)
from sidelight.collector.destinations.file.exporter import to_json
from sidelight.collector.log.view import directories_for
from sidelight.otlp.signals import SIGNALS, Signal

PURPOSE = "dead-letters"
_TITLES = (
    "destination",
    "letters",
    *SIGNALS,
    "oldest",
    "newest",
    "partial",
    "unreadable",
    "status",
)


@dataclass(slots=True)
class Summary:
    """The dead letters of one destination in one folder."""

    directory: Path
    destination: str
    letters: int = 0
    items: Counter[Signal] = field(default_factory=Counter)
    oldest: str = ""
    newest: str = ""
    partial: int = 0
    unreadable: int = 0
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, letter: DeadLetter) -> None:
        """Count one."""
        self.letters += 1
        if letter.record is None:
            self.unreadable += 1
            return
        self.oldest = self.oldest or letter.time
        self.newest = letter.time
        self.items[letter.record.signal] += letter.record.items
        self.partial += letter.is_partial
        self.statuses["none" if letter.status is None else str(letter.status)] += 1


def summaries(directory: Path) -> list[Summary]:
    """What the log in `directory` and its workers hold. Raises `LogError` and `OSError`."""
    listed = []
    for folder in directories_for(directory, PURPOSE):
        for destination in destinations_in(folder):
            summary = Summary(folder, destination)
            for letter in letters_in(folder, destination):
                summary.add(letter)
            if summary.letters:
                listed.append(summary)
    return listed


def as_json(listed: Sequence[Summary]) -> str:
    """The summaries as one JSON document."""
    values = [
        {
            "directory": str(summary.directory),
            "destination": summary.destination,
            "letters": summary.letters,
            "items": {signal: summary.items[signal] for signal in SIGNALS},
            "oldest": summary.oldest or None,
            "newest": summary.newest or None,
            "partial": summary.partial,
            "unreadable": summary.unreadable,
            "statuses": dict(summary.statuses),
        }
        for summary in listed
    ]
    return json.dumps({"dead_letters": values}, indent=2)


def as_text(listed: Sequence[Summary]) -> str:
    """The summaries as a table for each folder."""
    if not listed:
        return "no dead letters"
    parts = []
    for folder in dict.fromkeys(summary.directory for summary in listed):
        rows = [
            (
                summary.destination,
                f"{summary.letters:,}",
                *(f"{summary.items[signal]:,}" for signal in SIGNALS),
                summary.oldest or "-",
                summary.newest or "-",
                f"{summary.partial:,}",
                f"{summary.unreadable:,}",
                " ".join(f"{status}:{count:,}" for status, count in summary.statuses.items()),
            )
            for summary in listed
            if summary.directory == folder
        ]
        parts.append(f"{folder}\n\n{table(_TITLES, rows)}")
    return "\n\n".join(parts)


def as_line(letter: DeadLetter) -> bytes:
    """A dead letter as a line of JSON, with its request as OTLP/JSON where it can be read."""
    values: dict[str, Any] = {
        "time": letter.time or None,
        "signal": letter.record.signal if letter.record else None,
        "items": letter.record.items if letter.record else None,
        "status": letter.status,
        "reason": letter.reason,
        "request": None,
    }
    if letter.record is not None:
        try:
            values["request"] = json.loads(to_json(letter.record.signal, letter.record.body()))
        except Exception as error:  # noqa: BLE001 (isal and protobuf have no common class)
            # It may be among the dead letters because it cannot be read.
            values["unreadable"] = type(error).__name__
    return json.dumps(values).encode() + b"\n"


def configured(config: Config, destination: str) -> SubscriptionConfig:
    """The subscription of this name. Raises `CommandError` if there is none."""
    configs = {known.name: known for known in subscription_configs(detect.destinations(config))}
    if destination not in configs:
        names = ", ".join(configs) or "none"
        raise CommandError(
            f"no destination is named {destination!r}; there are: {names}. Name one of them, or "
            "the configuration with --config",
            2,
        )
    return configs[destination]


def resend(
    folder: Path,
    config: SubscriptionConfig,
    *,
    with_partial: bool,
    progress: Callable[[], None],
) -> Resent:
    """Send the dead letters in one folder again. Raises `CommandError`, `ConfigError`, `OSError`.

    Whatever stops it, what was accepted is removed and the rest stays.
    """
    name = config.name
    try:
        files = ResendFiles(folder, name)
    except ResendRunningError as error:
        raise CommandError(
            f"another command sends the dead letters of {name} again: wait for its end"
        ) from error
    letters = DeadLetters(folder)

    async def send() -> Resent:
        # Made inside the event loop, where exporters open their connections.
        with closing(build_exporter(config)) as exporter:
            sending = Resend(
                exporter,
                remove=files.remove,
                keep_rest=lambda record, status, reason: letters.store(
                    name, record, status=status, reason=reason
                ),
                with_partial=with_partial,
            )
            return await sending.run(files.letters(), progress)

    with closing(files):
        return asyncio.run(send())


def told(destination: str, results: Sequence[Resent], count: int) -> tuple[list[str], bool]:
    """What to say of a resend of `count` letters, and whether none is left."""
    delivered = sum(result.delivered for result in results)
    items = sum(result.delivered_items for result in results)
    partial = sum(result.partial for result in results)
    unreadable = sum(result.unreadable for result in results)
    lines = [
        f"{destination} accepted {delivered:,} of {count:,} dead letters ({items:,} items), which "
        "are removed"
    ]
    reasons: Counter[str] = Counter()
    for result in results:
        reasons.update(result.reasons)
    lines += [f"{number:,} rejected again, and left: {why}" for why, number in reasons.items()]
    if partial:
        lines.append(
            f"{partial:,} left that it accepted in part: --partial sends them whole, and what it "
            "accepted arrives twice"
        )
    if unreadable:
        lines.append(f"{unreadable:,} left that cannot be read: delete those lines by hand")
    stopped = next((result.stopped for result in results if result.stopped), None)
    if stopped:
        lines.append(f"stopped, as it accepts nothing now: {stopped}; then run this again")
    is_done = not (reasons or partial or unreadable or stopped)
    return lines, is_done
