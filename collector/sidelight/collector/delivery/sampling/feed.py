"""A feed that reads ahead to decide on traces, and sends behind, by those decisions.

Spans wait in the log, on disk, not in memory: only ids and times of traces are held. The
destination's cursor stays behind the oldest trace that is not decided, so that a restart
reads the same again. Everything is read twice, and what is behind an undecided trace
waits with it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path

from sidelight.collector.delivery.feed import Held, Step, Withheld
from sidelight.collector.delivery.sampling.decisions import Decisions
from sidelight.collector.delivery.sampling.sampler import Decision, Reasons, Sampler
from sidelight.collector.delivery.select import Selector
from sidelight.collector.destinations.common.sampling import Sampling
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record
from sidelight.otlp.inheritance import Grouping, grouping
from sidelight.otlp.otlp_pb2 import Request
from sidelight.otlp.signals import Signal
from sidelight.otlp.span_view import SpanView

_logger = logging.getLogger(__name__)

MAX_ROOTS = 10_000
"""Roots whose session, user, tags and name are kept for spans that came before them."""

Decided = Callable[[Decision], None]
"""Told each decision on a trace."""


class SampledFeed:
    """The log in order, without the traces that sampling drops."""

    def __init__(
        self,
        cursor: Cursor,
        signals: Container[Signal],
        config: Sampling,
        *,
        selector: Selector,
        directory: Path,
        leftovers: Sequence[Path] = (),
        withheld: Withheld | None = None,
        decided: Decided | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Decisions are kept in `directory`; those in `leftovers` are taken over."""
        self._cursor = cursor
        self._signals = signals
        self._selector = selector
        self._withheld = withheld
        self._decided = decided
        self._wall_ns = wall_ns
        self._max_traces = config.max_traces
        self._reasons = Reasons(config)
        self._sampler = Sampler(config)
        file, most = f"{cursor.name}.decisions", 2 * config.max_traces
        self._decisions = Decisions(directory / file, most=most)
        self._earlier = [Decisions(leftover / file, most=most) for leftover in leftovers]
        self._roots: dict[bytes, Grouping] = {}
        self._is_loaded = False
        self._unsaved: list[tuple[bytes, Decision]] = []
        self._save_fails = False
        self._scanned = cursor.position
        # Senders could not reach us before, and will try again: no trace was quiet in that time.
        self._resumes_ns: int | None = wall_ns()
        # End and traces of each record that was scanned and not yet sent.
        self._window: deque[tuple[Position, list[bytes]]] = deque()
        self._window_traces = 0
        self._head: tuple[Position, Entry, list[bytes]] | None = None

    def recent(self, position: Position) -> Step | None:  # noqa: ARG002 (Feed)
        """Nothing: deciding on a step may need to read ahead, and writes decisions."""
        return None

    def is_end(self, position: Position) -> bool:  # noqa: ARG002 (Feed)
        """Not known: what is decided at the end is written down."""
        return False

    def read(self, position: Position) -> Step | Held | None:
        """The next step at or behind `position`; `Held` while a trace in it is undecided."""
        if not self._is_loaded:
            self._load()
        self._scanned = max(self._scanned, position)
        while self._window and self._window[0][0] <= position:
            self._window_traces -= len(self._window.popleft()[1])
        if self._head is None or self._head[0] != position:
            entry = self._cursor.read(position)
            if entry is None:
                return None
            self._head = (position, entry, self._traces_of(entry))
        _, entry, waiting = self._head
        while self._is_undecided(waiting):
            if self._window_traces >= self._max_traces:
                self._sampler.decide_early(waiting)
            elif not self._scan():
                self._resume()
                self._sampler.advance(self._wall_ns())
                if self._is_undecided(waiting):
                    left = self._sampler.seconds_left(waiting[-1])
                    return Held(left, entry.record.time_ns)
        self._keep_decisions()
        return self._step(entry)

    def _load(self) -> None:
        """Take over earlier decisions. Not before the first read, for this waits for the disk."""
        for decisions in (*self._earlier, self._decisions):
            for trace_id, decision in decisions.load():
                self._sampler.remember(trace_id, decision)
        self._is_loaded = True

    def _traces_of(self, entry: Entry) -> list[bytes]:
        """The traces of the record that is next to be sent."""
        while self._scanned < entry.end and self._scan():
            pass
        is_next = bool(self._window) and self._window[0][0] == entry.end
        return list(self._window[0][1]) if is_next else []

    def _is_undecided(self, waiting: list[bytes]) -> bool:
        """Whether a trace of the list is; takes the decided off its end."""
        while waiting and self._sampler.decision(waiting[-1]) is not None:
            waiting.pop()
        return bool(waiting)

    def _scan(self) -> bool:
        """Look at the next record ahead; False at the end of the log."""
        entry = self._cursor.read(self._scanned)
        if entry is None:
            return False
        self._scanned = entry.end
        if self._resumes_ns is not None and entry.record.time_ns >= self._resumes_ns:
            self._resume()
        if entry.record.signal == "traces":
            try:
                traces = self._see(entry.record)
            except Exception:  # noqa: BLE001 (raised again when it is this record's turn)
                traces = []
            self._window.append((entry.end, traces))
            self._window_traces += len(traces)
            self._sampler.forget(2 * max(self._max_traces, self._window_traces))
        return True

    def _resume(self) -> None:
        """What is scanned from here on came after the start."""
        if self._resumes_ns is not None:
            self._sampler.resume(self._resumes_ns)
            self._resumes_ns = None

    def _see(self, record: Record) -> list[bytes]:
        """Show the sampler a record's spans; the traces it is about."""
        self._sampler.advance(record.time_ns)
        reasons: dict[bytes, Decision | None] = {}
        for resource in Request.FromString(record.body()).resources:
            if not self._selector.takes(resource.resource.SerializeToString()):
                continue
            for scope in resource.scopes:
                for item in scope.items:
                    span = SpanView(item)
                    trace_id = span.trace_id
                    if (held := grouping(item)) and span.is_root:
                        self._remember_root(trace_id, held)
                    # One reason is enough.
                    if reasons.get(trace_id) is None:
                        known = self._sampler.decision(trace_id)
                        reasons[trace_id] = self._reasons.find(span) if known is None else known
        for trace_id, reason in reasons.items():
            self._sampler.see(trace_id, reason)
        return list(reasons)

    def _remember_root(self, trace_id: bytes, held: Grouping) -> None:
        """Keep what groups a trace for spans of it that came before its root, and wait."""
        self._roots[trace_id] = held
        if len(self._roots) > MAX_ROOTS:
            del self._roots[next(iter(self._roots))]

    def _keep_decisions(self) -> None:
        """Before anything is sent on them decisions are where a restart finds them.

        A full disk must not stop the sending that lets it become empty: decisions that cannot
        be written are tried again, and only a crash before that would forget them.
        """
        fresh = self._sampler.fresh
        if not fresh:
            return
        if self._decided is not None:
            for _, decision in fresh:
                self._decided(decision)
        self._unsaved += fresh
        fresh.clear()
        try:
            self._decisions.add(self._unsaved)
            self._decisions.compact(self._sampler.decisions())
        except OSError as error:
            if not self._save_fails:
                _logger.error("sampling: decisions cannot be written: %s", error)
            self._save_fails = True
            del self._unsaved[: -2 * self._max_traces]
        else:
            self._save_fails = False
            self._unsaved.clear()

    def _step(self, entry: Entry) -> Step:
        record: Record | None = None
        if entry.record.signal in self._signals:
            keeps = partial(_is_kept, self._sampler)
            selection = self._selector.select(entry.record, keeps, self._roots)
            record = selection.record
            if self._withheld is not None:
                for reason, items in selection.withheld.items():
                    self._withheld(reason, items)
        return Step(record, entry.start, entry.end, entry.record.time_ns, entry.skipped_bytes)


def _is_kept(sampler: Sampler, trace_id: bytes) -> bool:
    """What is undecided here was never seen: the log lost it to damage in between."""
    decision = sampler.decision(trace_id)
    return sampler.is_in_share(trace_id) if decision is None else decision.is_kept
