"""Checks what the demo read back from Langfuse: pure functions from answers to findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sidelight.demo.app import RagAnswer
from sidelight.demo.checks import Finding, of_all
from sidelight.demo.langfuse_query import SeenObservation
from sidelight.demo.telemetry import ENVIRONMENT

PLACE = "Langfuse"


def check_observations(
    answers: Sequence[RagAnswer], traces: Mapping[str, Sequence[SeenObservation]]
) -> list[Finding]:
    """Compare what the client saw with what Langfuse counts."""
    complete = [answer for answer in answers if answer.output_tokens is not None]
    untraced = [answer for answer in answers if not traces.get(answer.trace_id)]
    elsewhere = sorted(
        {
            observation.environment
            for answer in answers
            for observation in traces.get(answer.trace_id, ())
            if observation.environment != ENVIRONMENT
        }
    )
    return [
        Finding(
            PLACE,
            "a trace for every question",
            not untraced and bool(answers),
            f"{len(answers) - len(untraced)} of {len(answers)}",
        ),
        of_all(
            PLACE,
            "tokens counted once, as the client saw them",
            complete,
            {
                answer.trace_id: wrong
                for answer in complete
                if (wrong := _wrong_tokens(answer, traces.get(answer.trace_id, ())))
            },
            "in all",
        ),
        of_all(
            PLACE,
            "the session on every span",
            complete,
            {
                answer.trace_id: f"none on {without[0].name}"
                for answer in complete
                if (without := [o for o in traces.get(answer.trace_id, ()) if not o.session])
            },
            "in all",
        ),
        Finding(
            PLACE,
            "one environment",
            not elsewhere and bool(answers),
            f"also {', '.join(elsewhere)}" if elsewhere else ENVIRONMENT,
        ),
    ]


def _wrong_tokens(answer: RagAnswer, observations: Sequence[SeenObservation]) -> str:
    expected = (answer.input_tokens or 0) + (answer.output_tokens or 0)
    seen = sum(
        observation.tokens for observation in observations if observation.type != "EMBEDDING"
    )
    return "" if seen == expected else f"{seen} instead of {expected}"
