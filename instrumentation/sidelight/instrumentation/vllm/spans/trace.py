"""All spans of one request: the server span and the phases of its sequences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vllm.delay.report import RequestDelay, delay_attributes
from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.records import CapturedRequest
from sidelight.instrumentation.vllm.spans.attributes import NANOSECONDS
from sidelight.instrumentation.vllm.spans.phases import PhaseSpan, frontend_span, phase_spans
from sidelight.instrumentation.vllm.spans.server import (
    SequencesWithConditions,
    ServerSpan,
    server_span,
)
from sidelight.instrumentation.vllm.trace_context import RemoteParent, read_parent

# A request may make thousands of sequences. The server span counts them all.
MAX_SEQUENCES_WITH_PHASES: Final = 8


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """The spans of one request before they have ids. `phases` are children of `server`."""

    parent: RemoteParent | None
    server: ServerSpan
    phases: list[PhaseSpan]


def request_trace(
    captured: CapturedRequest,
    request: RequestFacts,
    answer: AnswerFacts,
    sequences: SequencesWithConditions,
    settings: Settings,
    delay: RequestDelay | None = None,
    *,
    traced_by_vllm: bool = False,
    engine_is_observed: bool = False,
) -> RequestTrace:
    """The spans of a finished request. Nothing is sent and nothing is kept.

    `traced_by_vllm` says that vLLM's own spans report the tokens of the request, and
    `engine_is_observed` that a request without sequences is one that vLLM made none of.
    """
    parent = read_parent(captured.headers)
    server = server_span(
        captured,
        request,
        answer,
        sequences,
        settings,
        is_counted_elsewhere=parent is not None or traced_by_vllm,
    )
    shown = sequences[:MAX_SEQUENCES_WITH_PHASES]
    if delay is not None:
        server.attributes.update(delay_attributes(delay))
        # The sequence that the request waited for is shown, however many there are.
        if all(sequence is not delay.sequence for sequence, _ in shown):
            shown[-1] = (delay.sequence, delay.conditions)
    phases = [
        phase
        for sequence, conditions in shown
        for phase in phase_spans(
            sequence,
            conditions,
            captured.clock_offset_ns,
            server.start_ns,
            server.end_ns,
            delay.delay if delay is not None and sequence is delay.sequence else None,
        )
    ]
    unheard = captured.aborted and not (captured.sequences or sequences or captured.chunks)
    if engine_is_observed and unheard:
        seconds = (server.end_ns - server.start_ns) / NANOSECONDS
        server.attributes[names.FRONTEND_TIME] = seconds
        server.attributes[names.DELAY_SECONDS["frontend"]] = seconds
        phases = [frontend_span(server.start_ns, server.end_ns)]
    pass_on(server.attributes, [phase.attributes for phase in phases])
    return RequestTrace(parent, server, phases)


def pass_on(attributes: Mapping[str, Any], to: Iterable[dict[str, Any]]) -> None:
    """Give other spans the session, user, tags and name of the trace.

    Langfuse sums by the attributes of each span.
    """
    for name in (names.SESSION_ID, names.USER_ID, names.TAGS, names.LANGFUSE_TRACE_NAME):
        if name in attributes:
            for others in to:
                others[name] = attributes[name]
