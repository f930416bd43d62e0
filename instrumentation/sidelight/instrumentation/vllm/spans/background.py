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
from sidelight.instrumentation.vllm.spans.server import ServerSpan, engine_attributes, token_counts
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
    wall clock minus the monotonic clock.
    """

    parent: RemoteParent
    attributes: Mapping[str, Any]
    kind: str
    clock_offset_ns: int
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


def background_trace(
    response: AnsweredResponse, sequence: FinishedSequence, conditions: EngineConditions
) -> RequestTrace:
    """The span of a sequence of a background response, with its phases."""
    offset = response.clock_offset_ns
    start_ns = round(sequence.arrival * NANOSECONDS) + offset
    end_ns = max(start_ns, round(sequence.finished * NANOSECONDS) + offset)
    pair = [(sequence, conditions)]
    attributes = {
        names.SPAN_KIND: response.kind,
        **{name: response.attributes[name] for name in _PASSED_ON if name in response.attributes},
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
