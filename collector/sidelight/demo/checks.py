"""Checks what the demo read back: pure functions from answers and spans to findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sidelight import conventions as names
from sidelight.demo.app import TOP_K, RagAnswer
from sidelight.demo.phoenix_query import SeenSpan

PHASES = ("queue", "prefill", "decode")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `seen` says what was found, or what is missing."""

    place: str
    what: str
    found: bool
    seen: str
    # An optional check is shown but does not fail the demo.
    required: bool = True


@dataclass(frozen=True, slots=True)
class Tree:
    """The parts of the trace of one question; None for a missing part."""

    root: SeenSpan | None
    embedding: SeenSpan | None
    retriever: SeenSpan | None
    llm: SeenSpan | None
    server: SeenSpan | None
    phases: Mapping[str, SeenSpan]

    @property
    def missing(self) -> list[str]:
        """The names of missing app spans, for a completed answer."""
        parts = {
            "CHAIN": self.root,
            "EMBEDDING": self.embedding,
            "RETRIEVER": self.retriever,
            "LLM": self.llm,
        }
        return [name for name, span in parts.items() if span is None]

    @property
    def missing_in_server(self) -> list[str]:
        """The names of missing spans below the LLM span."""
        if self.server is None:
            return ["server span"]
        # The first token ends the prefill: an answer of one has nothing to decode.
        only_one = self.server.get(names.SERVED_OUTPUT_TOKENS) == 1
        expected = PHASES[:2] if only_one else PHASES
        return [phase for phase in expected if phase not in self.phases]


def tree(spans: Iterable[SeenSpan]) -> Tree:
    """Find the parts by kind and parent."""
    children: dict[str | None, list[SeenSpan]] = {}
    for span in spans:
        children.setdefault(span.parent_id, []).append(span)

    def child(parent: SeenSpan | None, kind: str | None = None) -> SeenSpan | None:
        if parent is None:
            return None
        below = children.get(parent.span_id, ())
        return next((span for span in below if kind in (None, span.kind)), None)

    roots = children.get(None, ())
    root = next((span for span in roots if span.kind == "CHAIN"), None)
    llm = child(root, "LLM")
    server = child(llm)
    below = children.get(server.span_id, ()) if server else ()
    phases = {str(span.get(names.ENGINE_PHASE)): span for span in below}
    return Tree(root, child(root, "EMBEDDING"), child(root, "RETRIEVER"), llm, server, phases)


def check_traces(
    answers: Sequence[RagAnswer],
    traces: Mapping[str, Sequence[SeenSpan]],
    *,
    instrumented: bool = True,
) -> list[Finding]:
    """Compare what the client saw with what Phoenix shows.

    `instrumented`: spans from inside vLLM are required.
    """
    # Usage comes at the end of the stream, so it marks a complete answer.
    complete = [answer for answer in answers if answer.output_tokens is not None]
    trees = {answer.trace_id: tree(traces.get(answer.trace_id, ())) for answer in answers}
    return [
        *_application(answers, complete, trees),
        *_server(answers, complete, trees, required=instrumented),
    ]


def _application(
    answers: Sequence[RagAnswer], complete: Sequence[RagAnswer], trees: Mapping[str, Tree]
) -> list[Finding]:
    def in_all(what: str, wrong: Mapping[str, str], good: str) -> Finding:
        return of_all("Phoenix", what, complete, wrong, good)

    untraced = [answer for answer in answers if trees[answer.trace_id].root is None]
    failed = [answer for answer in answers if answer.error]
    unmarked = [
        answer.error or ""
        for answer in failed
        if not ((root := trees[answer.trace_id].root) and root.failed)
    ]
    return [
        _answered(answers, complete),
        Finding(
            "Phoenix",
            "a trace for every question",
            not untraced and bool(answers),
            f"{len(answers) - len(untraced)} of {len(answers)}",
        ),
        in_all(
            "CHAIN → EMBEDDING, RETRIEVER, LLM",
            {
                answer.trace_id: "no " + ", ".join(missing)
                for answer in complete
                if (missing := trees[answer.trace_id].missing)
            },
            "in all",
        ),
        in_all(
            "documents with scores",
            {
                answer.trace_id: f"{shown} of {TOP_K} documents"
                for answer in complete
                if (shown := scored_documents(trees[answer.trace_id].retriever)) != TOP_K
            },
            f"{TOP_K} in each RETRIEVER",
        ),
        in_all(
            "LLM tokens as the client saw them",
            {
                answer.trace_id: wrong
                for answer in complete
                if (wrong := _other_tokens(answer, trees[answer.trace_id].llm))
            },
            _sums(complete),
        ),
        Finding(
            "Phoenix",
            "failed calls marked as errors",
            bool(failed) and not unmarked,
            f"not marked: {unmarked[0]}" if unmarked else f"{len(failed)} of {len(failed)}",
        ),
    ]


def _answered(answers: Sequence[RagAnswer], complete: Sequence[RagAnswer]) -> Finding:
    expected = [answer for answer in answers if not answer.meant_to_fail and not answer.gave_up]
    failed = [answer for answer in expected if answer.error]
    seen = f"{len(complete)} of {len(expected)}"
    if failed:
        seen += f"; {failed[0].error}"
    return Finding("App", "questions answered", bool(complete) and not failed, seen)


def _server(
    answers: Sequence[RagAnswer],
    complete: Sequence[RagAnswer],
    trees: Mapping[str, Tree],
    *,
    required: bool,
) -> list[Finding]:
    def in_all(what: str, wrong: Mapping[str, str], good: str) -> Finding:
        return of_all("vLLM", what, complete, wrong, good, required)

    gave_up = [answer for answer in answers if answer.gave_up]
    # A fast server may have written the whole answer before the client left.
    left_too_late = [
        answer
        for answer in gave_up
        if (server := trees[answer.trace_id].server) and server.get(names.FINISH_REASONS)
    ]
    aborts = [
        answer
        for answer in gave_up
        if (server := trees[answer.trace_id].server) and server.get(names.CLIENT_ABORTED)
    ]
    rejected = [
        server
        for answer in answers
        if answer.error and (server := trees[answer.trace_id].server) and server.failed
    ]
    return [
        in_all(
            "LLM → server span → queue, prefill, decode",
            {
                answer.trace_id: "no " + ", ".join(missing)
                for answer in complete
                if (missing := trees[answer.trace_id].missing_in_server)
            },
            "in all",
        ),
        in_all(
            "server's token counts as the client saw them",
            {
                answer.trace_id: wrong
                for answer in complete
                if (wrong := _other_served_tokens(answer, trees[answer.trace_id].server))
            },
            _sums(complete),
        ),
        in_all(
            "KV cache and batch each request met",
            {
                answer.trace_id: "no " + ", ".join(missing)
                for answer in complete
                if (missing := _missing_engine_conditions(trees[answer.trace_id]))
            },
            "in all",
        ),
        Finding(
            "vLLM",
            "clients that left early",
            bool(aborts) and len(aborts) >= len(gave_up) - len(left_too_late),
            f"{len(aborts)} of {len(gave_up)}",
            required,
        ),
        Finding(
            "vLLM",
            "rejected requests marked as errors",
            bool(rejected),
            f"{len(rejected)} with status {_statuses(rejected)}" if rejected else "none",
            required,
        ),
    ]


def of_all(
    place: str,
    what: str,
    complete: Sequence[RagAnswer],
    wrong: Mapping[str, str],
    good: str,
    required: bool = True,
) -> Finding:
    """A finding about all completed answers; `wrong` has the faults, by trace id."""
    if not complete:
        return Finding(place, what, False, "no question was answered completely", required)
    if wrong:
        trace_id, why = next(iter(wrong.items()))
        seen = f"wrong in {len(wrong)} of {len(complete)}; trace {trace_id}: {why}"
        return Finding(place, what, False, seen, required)
    return Finding(place, what, True, good, required)


def scored_documents(span: SeenSpan | None) -> int:
    """The number of documents of a RETRIEVER that Phoenix shows with a score."""
    documents = span.get("retrieval.documents") if span else None
    if not isinstance(documents, list):
        return 0
    return sum(
        isinstance((item.get("document") or {}).get("score"), int | float) for item in documents
    )


def _other_tokens(answer: RagAnswer, span: SeenSpan | None) -> str:
    if span is None:
        return "no LLM span"
    seen, expected = (
        (span.prompt_tokens, span.completion_tokens),
        (answer.input_tokens, answer.output_tokens),
    )
    return "" if seen == expected else f"{seen} instead of {expected}"


def _other_served_tokens(answer: RagAnswer, span: SeenSpan | None) -> str:
    if span is None:
        return "no server span"
    seen = (span.get(names.SERVED_INPUT_TOKENS), span.get(names.SERVED_OUTPUT_TOKENS))
    expected = (answer.input_tokens, answer.output_tokens)
    return "" if seen == expected else f"{seen} instead of {expected}"


def _missing_engine_conditions(parts: Tree) -> list[str]:
    spans = [span for span in (parts.server, *parts.phases.values()) if span]
    # Not the conditions at admission, which are unknown for the first request of an engine.
    conditions = (names.KV_USAGE_PEAK, names.BATCH_SIZE_MEAN)
    return [name for name in conditions if all(span.get(name) is None for span in spans)]


def _sums(answers: Sequence[RagAnswer]) -> str:
    prompt = sum(answer.input_tokens or 0 for answer in answers)
    written = sum(answer.output_tokens or 0 for answer in answers)
    return f"{prompt:,} in, {written:,} out over {len(answers)} answers"


def _statuses(spans: Iterable[SeenSpan]) -> str:
    return ", ".join(sorted({str(span.get(names.HTTP_STATUS)) for span in spans}))


def unfinished(answers: Sequence[RagAnswer], traces: Mapping[str, Sequence[SeenSpan]]) -> list[str]:
    """The ids of traces with spans that have not arrived yet."""

    def may_grow(answer: RagAnswer) -> bool:
        parts = tree(traces.get(answer.trace_id, ()))
        return parts.root is None or bool(parts.llm and parts.missing_in_server)

    return [answer.trace_id for answer in answers if may_grow(answer)]


def most_telling(
    answers: Sequence[RagAnswer], traces: Mapping[str, Sequence[SeenSpan]]
) -> str | None:
    """The trace to show: a complete one, preempted if there is one, with the longest queue."""

    def interest(answer: RagAnswer) -> tuple[bool, int, float]:
        parts = tree(traces.get(answer.trace_id, ()))
        spans = [span for span in (parts.server, *parts.phases.values()) if span]
        preempted = max((span.get(names.PREEMPTIONS) or 0 for span in spans), default=0)
        queue = parts.phases.get("queue")
        whole = not parts.missing and not parts.missing_in_server
        return whole, preempted, queue.milliseconds if queue else 0.0

    complete = [answer for answer in answers if answer.output_tokens is not None]
    return max(complete, key=interest).trace_id if complete else None
