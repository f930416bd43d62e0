"""Parts of Markdown pages: tables, and what is between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def replaced(page: str, name: str, lines: Iterable[str]) -> str:
    """A page with other lines between `<!-- name -->` and `<!-- end -->`.

    Raises `ValueError` if the page lacks one of the marks.
    """
    start, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page lacks {start.strip()} or the {end} behind it")
    return "".join((before, start, *(f"{line}\n" for line in lines), end, after))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, line by line."""
    yield _line(head)
    yield "|" + "---|" * len(head)
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
