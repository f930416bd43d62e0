"""Prints the demo's result: the findings, one complete trace, and where to look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from sidelight import conventions as names
from sidelight.demo.checks import Finding
from sidelight.demo.phoenix_query import SeenSpan

# Attributes that are shown beside a span, with short names.
_SHOWN = {
    names.VECTOR_SCORE_TOP: "top score",
    names.DB_RETURNED_ROWS: "documents",
    names.HTTP_STATUS: "status",
    names.WAITING_AT_ARRIVAL: "requests waiting",
    names.SERVED_INPUT_TOKENS: "prompt tokens",
    names.SERVED_CACHED_TOKENS: "from the prefix cache",
    names.KV_USAGE_AT_ADMISSION: "KV cache at admission",
    names.SERVED_OUTPUT_TOKENS: "output tokens",
    names.TIME_PER_OUTPUT_TOKEN: "seconds per token",
    names.BATCH_SIZE_MEAN: "mean batch",
    names.BATCH_SIZE_MAX: "largest batch",
    names.KV_USAGE_PEAK: "KV cache peak",
    names.STEPS_WITH_PREFILL: "steps shared with a prefill",
    names.PREEMPTIONS: "preemptions",
}
# The order in which the spans of a question start; Phoenix returns them in any order.
_ORDER = ("EMBEDDING", "RETRIEVER", "LLM")
_PHASES = ("frontend", "queue", "prefill", "decode", "delivery")


def show(
    console: Console,
    findings: Sequence[Finding],
    spans: Sequence[SeenSpan],
    links: Sequence[tuple[str, str]],
) -> None:
    """Print the table of findings, the tree of one trace, and the links."""
    console.print(_table(findings))
    if spans:
        console.print()
        console.print(_tree(spans))
    if links:
        console.print()
        width = max(len(what) for what, _ in links)
        for what, where in links:
            # Not wrapped, so that links can be copied and clicked.
            line = Text(f"{what:{width}}  ").append(where, "cyan")
            console.print(line, soft_wrap=True)
    console.print()
    missing = [finding for finding in findings if finding.required and not finding.found]
    if all(finding.found for finding in findings):
        console.print("Everything was found.", style="bold green")
    elif not missing:
        console.print("Everything required was found.", style="bold green")
    for finding in missing:
        console.print(
            f"Missing: {finding.place}: {finding.what}: {finding.seen}",
            style="bold red",
            markup=False,
            highlight=False,
        )


def _table(findings: Iterable[Finding]) -> Table:
    table = Table(title="What arrived", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("Where")
    table.add_column("What")
    table.add_column("Result", overflow="fold")
    place = ""
    for finding in findings:
        if finding.found:
            mark = Text("✓", "green")
        else:
            mark = Text("✗", "red") if finding.required else Text("–", "yellow")
        shown = "" if finding.place == place else finding.place
        table.add_row(mark, shown, Text(finding.what), Text(finding.seen))
        place = finding.place
    return table


def _tree(spans: Sequence[SeenSpan]) -> Tree:
    children: dict[str | None, list[SeenSpan]] = {}
    for span in spans:
        children.setdefault(span.parent_id, []).append(span)
    heading = Tree(Text("One question, from the app to vLLM's engine", "bold"), guide_style="dim")

    def grow(branch: Tree, parent_id: str | None) -> None:
        for span in sorted(children.get(parent_id, ()), key=_rank):
            grow(branch.add(_line(span)), span.span_id)

    grow(heading, None)
    return heading


def _rank(span: SeenSpan) -> int:
    if span.name in _PHASES:
        return _PHASES.index(span.name)
    return _ORDER.index(span.kind) if span.kind in _ORDER else len(_ORDER)


def _line(span: SeenSpan) -> Text:
    line = Text(f"{span.milliseconds:7.1f} ms  ", "cyan")
    line.append(f"{span.name} ", "bold red" if span.failed else "bold")
    line.append(f"{span.kind}  ", "dim")
    if span.prompt_tokens or span.completion_tokens:
        line.append(f"{span.prompt_tokens} tokens in, {span.completion_tokens} out  ")
    facts = [
        f"{label} {_number(value)}"
        for name, label in _SHOWN.items()
        if (value := span.get(name)) is not None
        # The server span repeats the attributes of its phases.
        and (span.name in _PHASES or not name.startswith("sidelight."))
    ]
    line.append(", ".join(facts), "dim")
    return line


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
