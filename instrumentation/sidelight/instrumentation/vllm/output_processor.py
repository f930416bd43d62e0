"""Hooks on vLLM's `OutputProcessor`, which knows each sequence from its arrival to its end.

They are put on the one object that an `AsyncLLM` uses, not on the class. vLLM calls them on the
API server's event loop: once for a sequence that begins, once for one that ends, and once for a
step. Their first arguments have vLLM's names, by which a caller may give them. Seen in vLLM 0.13
to 0.32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import monotonic, time
from typing import Any, Final

from sidelight.instrumentation.vllm import current_request
from sidelight.instrumentation.vllm.faults import FaultGuard
from sidelight.instrumentation.vllm.sequences import CLOCK_TOLERANCE, SequenceFields

# A client may send an `X-Request-Id` of any length.
MAX_ID_CHARACTERS: Final = 256
# Whose times are kept of one sequence.
MAX_PREEMPTIONS: Final = 64
# Of one step, which has fewer. More are of steps that nobody reported.
MAX_ENDED_IN_STEP: Final = 4_096
# A step that is older when its outputs come has the time of another host's clock.
MAX_OUTPUT_DELAY_SECONDS: Final = 60.0
# Of vLLM's `EngineCoreEventType`.
_SCHEDULED: Final = 2
_PREEMPTED: Final = 3
_FINISH_REASONS: Final = ("stop", "length", "abort", "error", "repetition")


class _SequenceTag:
    """What vLLM does not keep of a sequence. It lives as long as vLLM's own state of it."""

    __slots__ = (
        "arrival", "ended", "engine", "first_token", "index", "preempted", "preemptions",
        "request_number",
    )  # fmt: skip

    def __init__(self, request_number: int | None, index: int, arrival: float) -> None:
        self.request_number = request_number
        self.index = index
        self.arrival = arrival
        self.engine: int | None = None
        # Only without vLLM's statistics, which have it otherwise.
        self.first_token: float | None = None
        # For each token after an absence: left the batch, last scheduled again, the token.
        self.preempted: tuple[tuple[float, float, float], ...] = ()
        self.preemptions = 0
        self.ended = False


class SequenceCapture:
    """Observes the sequences of one `OutputProcessor`.

    `hand_over` takes the fields of sequences that ended outside of a step or for which no step
    is reported. `engine_of` tells the engine of a sequence by vLLM's id of it.
    """

    def __init__(
        self,
        processor: Any,
        hand_over: Callable[[tuple[SequenceFields, ...]], object],
        engine_of: Callable[[str], int | None],
        guard: FaultGuard,
    ) -> None:
        self._processor = processor
        self._hand_over = hand_over
        self._engine_of = engine_of
        self._guard = guard
        self._ended_in_step: list[SequenceFields] = []
        # Whether `take_ended` is called after each step.
        self.reports_steps = False
        # Called before the outputs of each step.
        self.before_step: Callable[[], object] = lambda: None
        # When the outputs that are being processed were received.
        self._received = 0.0
        # Without vLLM's statistics: sequences whose first token has not come, by vLLM's id.
        self._without_token: dict[str, _SequenceTag] = {}
        self.step_at: float | None = None

    def install(self) -> list[str]:
        """Put the hooks in place. Returns the names of the methods that do not exist."""
        missing = []
        for name, observed in (
            ("add_request", self._observed_add),
            ("process_outputs", self._observed_outputs),
            ("_update_stats_from_finished", self._observed_finish),
            ("abort_requests", self._observed_abort),
            ("propagate_error", self._observed_error),
        ):
            method = getattr(self._processor, name, None)
            if callable(method):
                setattr(self._processor, name, functools.wraps(method)(observed(method)))
            else:
                missing.append(name)
        return missing

    def take_ended(self, engine: int) -> tuple[SequenceFields, ...]:
        """The sequences that ended in the step that `engine` has just reported."""
        if not self._ended_in_step:
            return ()
        ended = tuple((fields[0], engine, *fields[2:]) for fields in self._ended_in_step)
        self._ended_in_step.clear()
        return ended

    def hand_over_ended(self) -> None:
        """Hand over the sequences of a step that is not reported."""
        if self._ended_in_step:
            ended = tuple(self._ended_in_step)
            self._ended_in_step.clear()
            self._hand_over(ended)

    def _observed_add(self, add: Callable[..., Any]) -> Callable[..., Any]:
        def add_request(request: Any, *args: Any, **kwargs: Any) -> Any:
            result = add(request, *args, **kwargs)
            if not self._guard.off:
                try:
                    self._begin(request)
                except BaseException as error:  # noqa: BLE001 - vLLM's request goes on without us
                    self._guard.fault(error)
            return result

        return add_request

    def _observed_outputs(self, process: Callable[..., Any]) -> Callable[..., Any]:
        def process_outputs(engine_core_outputs: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = engine_core_outputs
            at = args[0] if args else kwargs.get("engine_core_timestamp")
            try:
                self.before_step()
                self._note_step(at)
                if self._without_token and not self._guard.off:
                    self._note_first_tokens(outputs, self.step_at)
            except BaseException as error:  # noqa: BLE001 - vLLM's step goes on without us
                self._guard.fault(error)
            result = process(outputs, *args, **kwargs)
            stats = args[1] if len(args) > 1 else kwargs.get("iteration_stats")
            # Few steps have any, so that most do not look at each output.
            if getattr(stats, "num_preempted_reqs", 0) and at is not None and not self._guard.off:
                try:
                    self._note_preemptions(outputs, at)
                except BaseException as error:  # noqa: BLE001 - vLLM's step goes on without us
                    self._guard.fault(error)
            return result

        return process_outputs

    def _observed_finish(self, update: Callable[..., Any]) -> Callable[..., Any]:
        def update_stats_from_finished(
            req_state: Any, finish_reason: Any, *args: Any, **kwargs: Any
        ) -> Any:
            if not self._guard.off:
                try:
                    fields = self._end(req_state, _name_of(finish_reason), self._received)
                    if fields is not None:
                        if self.reports_steps:
                            self._ended_in_step.append(fields)
                            if len(self._ended_in_step) >= MAX_ENDED_IN_STEP:
                                self.hand_over_ended()
                        else:
                            self._hand_over((fields,))
                    self._guard.passed()
                except BaseException as error:  # noqa: BLE001 - vLLM's step goes on without us
                    self._guard.fault(error)
            return update(req_state, finish_reason, *args, **kwargs)

        return update_stats_from_finished

    def _observed_abort(self, abort: Callable[..., Any]) -> Callable[..., Any]:
        def abort_requests(request_ids: Any, *args: Any, **kwargs: Any) -> Any:
            if self._guard.off:
                return abort(request_ids, *args, **kwargs)
            states: dict[str, Any] = {}
            try:
                request_ids = tuple(request_ids)
                states = self._states_of(request_ids)
            except BaseException as error:  # noqa: BLE001 - vLLM's abort goes on without us
                self._guard.fault(error)
            aborted = abort(request_ids, *args, **kwargs)
            try:
                # A child of n > 1 is in a call of its own, which vLLM makes within this one.
                self._hand_over_ended(
                    [states[id_] for id_ in aborted if id_ in states], "abort", None
                )
            except BaseException as error:  # noqa: BLE001 - vLLM's abort goes on without us
                self._guard.fault(error)
            return aborted

        return abort_requests

    def _observed_error(self, propagate: Callable[..., Any]) -> Callable[..., Any]:
        def propagate_error(e: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                states = list(self._processor.request_states.values())
                self._hand_over_ended(states, "error", type(e).__name__)
            except BaseException as error:  # noqa: BLE001 - vLLM tells its clients without us
                self._guard.fault(error)
            return propagate(e, *args, **kwargs)

        return propagate_error

    def _begin(self, request: Any) -> None:
        state = self._processor.request_states.get(request.request_id)
        # Of a session with streamed input, only the first request makes a state.
        if state is None or hasattr(state, "sidelight"):
            return
        current = current_request.get()
        arrival = monotonic() - max(0.0, time() - request.arrival_time)
        if current is None:
            tag = _SequenceTag(None, 0, arrival)
        else:
            tag = _SequenceTag(current.number, current.sequences, arrival)
            current.sequences += 1
        state.sidelight = tag
        if state.stats is None:
            self._without_token[request.request_id] = tag

    def _note_step(self, at: float | None) -> None:
        self._received = self.step_at = now = monotonic()
        if at is None or now - MAX_OUTPUT_DELAY_SECONDS <= at <= now + CLOCK_TOLERANCE:
            self.step_at = at

    def _note_first_tokens(self, outputs: Any, at: float | None) -> None:
        without_token = self._without_token
        for output in outputs:
            tag = without_token.pop(output.request_id, None)
            if tag is not None:
                tag.first_token = at
                tag.engine = self._engine_of(output.request_id)

    def _note_preemptions(self, outputs: Any, at: float) -> None:
        for output in outputs:
            if not output.events:
                continue
            tag = getattr(self._processor.request_states.get(output.request_id), "sidelight", None)
            if tag is None:
                continue
            left = back = None
            for event in output.events:
                if event.type == _PREEMPTED:
                    tag.preemptions += 1
                    left = event.timestamp if left is None else left
                elif event.type == _SCHEDULED and left is not None:
                    back = event.timestamp
            # However often it was preempted before this token, it is one absence.
            if left is not None and back is not None and len(tag.preempted) < MAX_PREEMPTIONS:
                tag.preempted += ((left, back, at),)

    def _states_of(self, request_ids: tuple[str, ...]) -> dict[str, Any]:
        """The states that `abort_requests` may end, by vLLM's ids."""
        known = self._processor.request_states
        # By the ids of their callers, which newer versions tell from their own.
        internal = getattr(self._processor, "external_req_ids", {})
        ids = [id_ for given in request_ids for id_ in (given, *internal.get(given, ()))]
        return {id_: known[id_] for id_ in ids if id_ in known}

    def _hand_over_ended(self, states: list[Any], reason: str, error: str | None) -> None:
        now = monotonic()
        ended = [self._end(state, reason, now, error) for state in states]
        fields = tuple(fields for fields in ended if fields is not None)
        if fields:
            self._hand_over(fields)

    def _end(
        self, state: Any, reason: str, finished: float, error: str | None = None
    ) -> SequenceFields | None:
        tag = getattr(state, "sidelight", None)
        if tag is None:
            tag = _SequenceTag(None, 0, finished)
        elif tag.ended:
            return None
        tag.ended = True
        self._without_token.pop(state.request_id, None)
        stats = state.stats
        if stats is None:
            engine = tag.engine
            times = None, None, tag.first_token, self.step_at if tag.first_token else None
            generated, preemptions = _tokens_of(state.detokenizer), 0
        else:
            engine = None
            # Zero is what an event has that did not happen or was not reported.
            times = (
                stats.queued_ts or None,
                stats.scheduled_ts or None,
                stats.first_token_ts or None,
                stats.last_token_ts or None,
            )
            generated = stats.num_generation_tokens
            # Those of the older versions do not count them.
            preemptions = getattr(stats, "num_preemptions", tag.preemptions)
        return (
            (getattr(state, "external_req_id", None) or state.request_id)[:MAX_ID_CHARACTERS],
            self._engine_of(state.request_id) if engine is None else engine,
            reason,
            finished,
            tag.arrival,
            *times,
            state.prompt_len,
            getattr(state, "num_cached_tokens", 0),
            generated,
            preemptions,
            state.lora_name,
            tag.preempted,
            tag.request_number,
            tag.index,
            error,
        )


def _name_of(reason: Any) -> str:
    """The name of one of vLLM's finish reasons."""
    if isinstance(reason, int) and 0 <= reason < len(_FINISH_REASONS):
        return _FINISH_REASONS[reason]
    return str(reason)


def _tokens_of(detokenizer: Any) -> int:
    # Pooling has none.
    if detokenizer is None:
        return 0
    count = getattr(detokenizer, "num_output_tokens", None)
    return count() if callable(count) else len(detokenizer.output_token_ids)
