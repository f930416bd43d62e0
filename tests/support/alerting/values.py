"""Values of series, one a scrape, as promtool reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Prometheus ends a series at once when its target is gone.
_STALE = "stale"
Segment = tuple[float | None, int]


def gauge(*segments: Segment) -> str:
    """A value for a number of scrapes, then another; `None`: the series is not there."""
    return _written([value for value, scrapes in segments for _ in range(scrapes)])


def counter(*segments: Segment, start: float = 0) -> str:
    """An increase at each of a number of scrapes, then another; `None`: the series is not there.

    Where it is there again it starts from zero.
    """
    values: list[float | None] = []
    total = start
    for increase, scrapes in segments:
        for _ in range(scrapes):
            if increase is None:
                values.append(None)
                total = 0
            else:
                values.append(total)
                total += increase
    return _written(values)


def _written(values: Sequence[float | None]) -> str:
    return " ".join(_texts(values))


def _texts(values: Sequence[float | None]) -> Iterator[str]:
    before: float | None = None
    for value in values:
        if value is not None:
            yield f"{value:.10g}"
        else:
            yield "_" if before is None else _STALE
        before = value
