"""The demo's verification: a trace that is right passes, and whatever lacks is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.demo.app import TOP_K, RagAnswer
from sidelight.demo.checks import (
    Finding,
    check_traces,
    most_telling,
    scored_documents,
    unfinished,
)
from sidelight.demo.phoenix_query import SeenSpan

TRACE = "0af7651916cd43dd8448eb211c80319c"
DOCUMENTS = {"documents": [{"document": {"id": str(n), "score": 0.5}} for n in range(TOP_K)]}


def nested(attributes: dict[str, Any]) -> dict[str, Any]:
    """Dotted names as the nested objects that Phoenix makes of them."""
    tree: dict[str, Any] = {}
    for name, value in attributes.items():
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree


def span(
    span_id: str,
    parent_id: str | None,
    kind: str,
    *,
    tokens: tuple[int, int] = (0, 0),
    failed: bool = False,
    milliseconds: float = 1.0,
    attributes: dict[str, Any] | None = None,
) -> SeenSpan:
    """One span, named as its id; `attributes` have dotted names."""
    return SeenSpan(
        span_id=span_id,
        parent_id=parent_id,
        name=span_id,
        kind=kind,
        failed=failed,
        milliseconds=milliseconds,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        documents=0,
        attributes=nested(attributes or {}),
    )


def good_trace(*, queue_milliseconds: float = 1.0, preemptions: int = 0) -> list[SeenSpan]:
    """The trace of a question answered with 100 tokens in and 20 out."""
    return [
        span("root", None, "CHAIN"),
        span("embedding", "root", "EMBEDDING"),
        span("search", "root", "RETRIEVER", attributes={"retrieval": DOCUMENTS}),
        span("llm", "root", "LLM", tokens=(100, 20)),
        span(
            "server",
            "llm",
            "CHAIN",
            attributes={names.SERVED_INPUT_TOKENS: 100, names.SERVED_OUTPUT_TOKENS: 20},
        ),
        span(
            "queue",
            "server",
            "CHAIN",
            milliseconds=queue_milliseconds,
            attributes={names.ENGINE_PHASE: "queue"},
        ),
        span("prefill", "server", "CHAIN", attributes={names.ENGINE_PHASE: "prefill"}),
        span(
            "decode",
            "server",
            "CHAIN",
            attributes={
                names.ENGINE_PHASE: "decode",
                names.KV_USAGE_PEAK: 0.9,
                names.BATCH_SIZE_MEAN: 4.0,
                names.PREEMPTIONS: preemptions,
            },
        ),
    ]


COMPLETE = RagAnswer("why?", trace_id=TRACE, input_tokens=100, output_tokens=20)
GAVE_UP = RagAnswer("why?", trace_id="b" * 32, gave_up=True)
REFUSED = RagAnswer(
    "why?", trace_id="c" * 32, error="HTTPStatusError: HTTP 404", meant_to_fail=True
)
ANSWERS = [COMPLETE, GAVE_UP, REFUSED]


def traces(complete: list[SeenSpan]) -> dict[str, list[SeenSpan]]:
    """Traces of all three answers; the one of the complete answer as given."""
    return {
        TRACE: complete,
        GAVE_UP.trace_id: [
            span("root", None, "CHAIN"),
            span("llm", "root", "LLM", failed=True),
            span("server", "llm", "CHAIN", attributes={names.CLIENT_ABORTED: True}),
        ],
        REFUSED.trace_id: [
            span("root", None, "CHAIN", failed=True),
            span("llm", "root", "LLM", failed=True),
            span("server", "llm", "LLM", failed=True, attributes={names.HTTP_STATUS: 404}),
        ],
    }


def faults(findings: Sequence[Finding]) -> dict[str, str]:
    """What was not found, and what was seen instead."""
    return {finding.what: finding.seen for finding in findings if not finding.found}


def test_a_whole_trace_passes() -> None:
    """With everything there, nothing is missing."""
    assert faults(check_traces(ANSWERS, traces(good_trace()))) == {}


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("embedding", "EMBEDDING"),
        ("search", "RETRIEVER"),
        ("llm", "LLM"),
        ("server", "server span"),
        ("queue", "queue"),
        ("prefill", "prefill"),
        ("decode", "decode"),
    ],
)
def test_a_missing_span_is_named(lost: str, named: str) -> None:
    """A span that did not arrive is named, with the trace it is missing from."""
    rest = [each for each in good_trace() if each.span_id != lost]

    found = " ".join(faults(check_traces(ANSWERS, traces(rest))).values())

    assert f"trace {TRACE}: no {named}" in found


def test_a_trace_that_is_not_there_is_counted() -> None:
    """Questions without a trace are counted against those that were asked."""
    found = faults(check_traces(ANSWERS, {**traces([]), TRACE: []}))

    assert found["a trace for every question"] == "2 of 3"


def edited(span_id: str, **changes: Any) -> list[SeenSpan]:
    """The good trace with one span changed."""
    return [replace(each, **changes) if each.span_id == span_id else each for each in good_trace()]


@pytest.mark.parametrize(
    ("changed", "what", "seen"),
    [
        (
            edited("llm", completion_tokens=21),
            "LLM tokens as the client saw them",
            "(100, 21) instead of (100, 20)",
        ),
        (
            edited("server", attributes={}),
            "server's token counts as the client saw them",
            "(None, None) instead of (100, 20)",
        ),
        (
            edited("search", attributes={"retrieval": {"documents": DOCUMENTS["documents"][:1]}}),
            "documents with scores",
            f"1 of {TOP_K} documents",
        ),
        (
            edited("decode", attributes=nested({names.ENGINE_PHASE: "decode"})),
            "KV cache and batch each request met",
            f"no {names.KV_USAGE_PEAK}, {names.BATCH_SIZE_MEAN}",
        ),
    ],
)
def test_a_wrong_number_is_told_beside_the_right_one(
    changed: list[SeenSpan], what: str, seen: str
) -> None:
    """Where Phoenix shows something else than the client saw, both are told."""
    assert seen in faults(check_traces(ANSWERS, traces(changed)))[what]


@pytest.mark.parametrize(("tokens", "is_missing"), [(1, False), (2, True)])
def test_one_token_is_not_decoded(tokens: int, is_missing: bool) -> None:
    """The first token ends the prefill, so that an answer of one has no such span."""
    answer = replace(COMPLETE, output_tokens=tokens)
    told = {names.SERVED_INPUT_TOKENS: 100, names.SERVED_OUTPUT_TOKENS: tokens}
    met = {names.ENGINE_PHASE: "prefill", names.KV_USAGE_PEAK: 0.9, names.BATCH_SIZE_MEAN: 4.0}
    changes: dict[str, dict[str, Any]] = {
        "llm": {"completion_tokens": tokens},
        "server": {"attributes": nested(told)},
        "prefill": {"attributes": nested(met)},
    }
    spans = [
        replace(each, **changes.get(each.span_id, {}))
        for each in good_trace()
        if each.span_id != "decode"
    ]
    found = faults(check_traces([answer, GAVE_UP, REFUSED], traces(spans)))
    wrong = ["LLM → server span → queue, prefill, decode"] if is_missing else []
    assert list(found) == wrong


def test_documents_without_a_score_do_not_count() -> None:
    """A document counts only with a number for a score."""
    unscored = {"documents": [{"document": {"id": "1", "score": None}}, {"document": {"id": "2"}}]}

    assert scored_documents(span("s", None, "RETRIEVER", attributes={"retrieval": unscored})) == 0
    assert scored_documents(None) == 0


def altered(change: Callable[[dict[str, list[SeenSpan]]], object]) -> dict[str, list[SeenSpan]]:
    """All good traces after a change to them."""
    seen = traces(good_trace())
    change(seen)
    return seen


def test_an_abort_the_server_did_not_notice_is_told() -> None:
    """Every client that left while the server wrote must be marked so."""
    seen = altered(lambda all_of_them: all_of_them[GAVE_UP.trace_id].pop())

    assert faults(check_traces(ANSWERS, seen))["clients that left early"] == "0 of 1"


def test_an_abort_after_the_last_token_is_none() -> None:
    """A client that left when the server had finished is not expected to be marked."""
    too_late = RagAnswer("why?", trace_id="d" * 32, gave_up=True)
    seen = traces(good_trace()) | {
        too_late.trace_id: [
            span("root", None, "CHAIN"),
            span("llm", "root", "LLM"),
            span("server", "llm", "CHAIN", attributes={names.FINISH_REASONS: ["length"]}),
        ]
    }

    assert "clients that left early" not in faults(check_traces([*ANSWERS, too_late], seen))


def test_an_error_that_is_not_marked_is_told() -> None:
    """A call that failed for the client must have failed on the trace."""
    seen = altered(
        lambda all_of_them: all_of_them.update({REFUSED.trace_id: [span("root", None, "CHAIN")]})
    )

    found = faults(check_traces(ANSWERS, seen))

    assert found["failed calls marked as errors"] == "not marked: HTTPStatusError: HTTP 404"
    assert found["rejected requests marked as errors"] == "none"


def test_a_server_of_ones_own_may_lack_the_instrumentation() -> None:
    """Without Sidelight inside vLLM its part is told as missing but does not fail the demo."""
    application = [
        each for each in good_trace() if each.span_id in ("root", "embedding", "search", "llm")
    ]

    found = check_traces(ANSWERS, traces(application), instrumented=False)

    assert {each.place for each in found if not each.found} == {"vLLM"}
    assert not any(each.required for each in found if not each.found)


def test_nothing_answered_is_not_taken_for_success() -> None:
    """Checks over all complete answers fail if there are none."""
    found = check_traces([GAVE_UP, REFUSED], traces([]))

    assert "no question was answered completely" in faults(found).values()


def test_a_question_that_should_have_been_answered_is_told_with_its_error() -> None:
    """An error that nobody provoked fails the demo and is shown."""
    broken = RagAnswer("why?", trace_id="f" * 32, error="ConnectError: refused")

    found = faults(check_traces([*ANSWERS, broken], traces(good_trace())))

    assert found["questions answered"] == "1 of 2; ConnectError: refused"


def test_only_traces_that_may_grow_are_asked_for_again() -> None:
    """A whole trace and one of a failed search are done; one without its phases is not."""
    no_collection = RagAnswer("why?", trace_id="e" * 32, error="MilvusException")
    seen = {
        TRACE: good_trace(),
        no_collection.trace_id: [span("root", None, "CHAIN", failed=True)],
        GAVE_UP.trace_id: [],
    }

    assert unfinished([COMPLETE, no_collection, GAVE_UP], seen) == [GAVE_UP.trace_id]


def test_the_trace_to_look_at_was_preempted_and_waited() -> None:
    """Of whole traces the one with most preemptions is shown, of equals the longest queued."""
    calm, waited, preempted, broken = (replace(COMPLETE, trace_id=each * 32) for each in "1234")
    seen = {
        calm.trace_id: good_trace(),
        waited.trace_id: good_trace(queue_milliseconds=50),
        preempted.trace_id: good_trace(preemptions=2),
        broken.trace_id: good_trace(preemptions=9)[:-2],
    }

    assert most_telling([calm, waited], seen) == waited.trace_id
    assert most_telling([calm, waited, preempted, broken], seen) == preempted.trace_id
    assert most_telling([GAVE_UP], {}) is None
