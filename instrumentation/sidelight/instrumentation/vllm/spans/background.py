"""The work on a background response, which goes on after its request was answered.

A request with `background` is answered at once, so its server span ends before the engine begins.
The work is a span of its own below the server span, as soon as a sequence has finished. It has
the tokens, and the phases are its children.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.sequences import FinishedSequence
from sidelight.instrumentation.vllm.spans.attributes import NANOSECONDS
from sidelight.instrumentation.vllm.spans.phases import phase_spans
from sidelight.instrumentation.vllm.spans.server import (
    SERVER_ENDED_MESSAGE,
    ServerSpan,
    engine_attributes,
    token_counts,
)
from sidelight.instrumentation.vllm.spans.trace import RequestTrace, pass_on
from sidelight.instrumentation.vllm.steps import EngineConditions
from sidelight.instrumentation.vllm.trace_context import RemoteParent

# Beyond it the oldest are forgotten, and their work has no span.
MAX_RESPONSES: Final = 2_048
MAX_SEQUENCES: Final = 64
BACKGROUND: Final = "background"
_PASSED_ON: Final = (
    names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL,
    names.RESPONSE_ID,
)  # fmt: skip


@dataclass(slots=True)
class AnsweredResponse:
    """A background response whose request is over.

    `kind` is the span kind of its work; CHAIN does not count tokens. `clock_offset_ns` is the
    wall clock minus the monotonic clock, `answered_ns` is on the wall clock.
    """

    parent: RemoteParent
    attributes: Mapping[str, Any]
    kind: str
    clock_offset_ns: int
    answered_ns: int
    sequences: int = 0


class BackgroundResponses:
    """The responses whose sequences are still to come, by source and number of their request."""

    def __init__(self) -> None:
        self._responses: OrderedDict[tuple[int, int], AnsweredResponse] = OrderedDict()

    def expect(self, source: int, request_number: int, response: AnsweredResponse) -> None:
        """Expect the sequences of a response."""
        self._responses[source, request_number] = response
        if len(self._responses) > MAX_RESPONSES:
            self._responses.popitem(last=False)

    def response_of(self, source: int, sequence: FinishedSequence) -> AnsweredResponse | None:
        """The response that a sequence belongs to; None if it is none of these.

        A response that calls built-in tools has a sequence for each turn.
        """
        if sequence.request_number is None:
            return None
        response = self._responses.get((source, sequence.request_number))
        if response is None or response.sequences >= MAX_SEQUENCES:
            return None
        response.sequences += 1
        return response

    def take_unfinished(self, source: int) -> list[AnsweredResponse]:
        """Forget the responses of a source that is gone. Returns those without a sequence."""
        gone = [key for key in self._responses if key[0] == source]
        responses = [self._responses.pop(key) for key in gone]
        return [response for response in responses if not response.sequences]


def unfinished_background_trace(response: AnsweredResponse, end_clock_ns: int) -> RequestTrace:
    """The span of work that ended with its API server, at `end_clock_ns` of the monotonic clock."""
    end_ns = max(response.answered_ns, end_clock_ns + response.clock_offset_ns)
    attributes = _attributes(response)
    pass_on(response.attributes, [attributes])
    span = ServerSpan(
        BACKGROUND,
        response.answered_ns,
        end_ns,
        attributes,
        error_type=names.SERVER_ENDED,
        error_message=SERVER_ENDED_MESSAGE,
        is_entry=False,
    )
    attributes[names.ERROR_TYPE] = names.SERVER_ENDED
    return RequestTrace(response.parent, span, [])


def _attributes(response: AnsweredResponse) -> dict[str, Any]:
    passed_on = {n: response.attributes[n] for n in _PASSED_ON if n in response.attributes}
    return {names.SPAN_KIND: response.kind, **passed_on}


def background_trace(
    response: AnsweredResponse, sequence: FinishedSequence, conditions: EngineConditions
) -> RequestTrace:
    """The span of a sequence of a background response, with its phases."""
    offset = response.clock_offset_ns
    start_ns = round(sequence.arrival * NANOSECONDS) + offset
    end_ns = max(start_ns, round(sequence.finished * NANOSECONDS) + offset)
    pair = [(sequence, conditions)]
    attributes = {
        **_attributes(response),
        names.FINISH_REASONS: (sequence.finish_reason,),
        **token_counts(
            sequence.prompt_tokens,
            sequence.generated_tokens,
            sequence.cached_tokens,
            counts=response.kind != "CHAIN",
        ),
        **engine_attributes(pair),
    }
    span = ServerSpan(BACKGROUND, start_ns, end_ns, attributes, is_entry=False)
    phases = phase_spans(sequence, conditions, offset, start_ns, end_ns)
    pass_on(response.attributes, [attributes, *(phase.attributes for phase in phases)])
    return RequestTrace(response.parent, span, phases)
