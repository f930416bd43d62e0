"""Reads numbers and exemplars back out of Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

_STEP_SECONDS = 2


@dataclass(frozen=True, slots=True)
class FoundExemplar:
    """One point of a metric and the trace it came from."""

    series: str
    trace_id: str
    value: float


class PrometheusReader:
    """Questions to a Prometheus about one span of time.

    `start` and `end` are Unix times in seconds. Every method raises `httpx.HTTPError`, with
    Prometheus's own words where it refuses a query.
    """

    def __init__(self, url: str, start: float, end: float) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self._start = start
        self._end = end

    def series(self, query: str) -> list[list[float]]:
        """The values over the time of every series a query returns; NaN is left out."""
        result = self._get("query_range", query, step=_STEP_SECONDS)["result"]
        numbers = ([float(value) for _, value in each["values"]] for each in result)
        return [kept for each in numbers if (kept := [value for value in each if value == value])]

    def peak(self, query: str) -> float | None:
        """The highest value of any series of a query, or None if there is no data."""
        values = [value for each in self.series(query) for value in each]
        return max(values, default=None)

    def exemplars(self, query: str) -> list[FoundExemplar]:
        """The exemplars of the series of a query that carry a trace id."""
        return [
            FoundExemplar(
                series=each["seriesLabels"].get("__name__", ""),
                trace_id=exemplar["labels"]["trace_id"],
                value=float(exemplar["value"]),
            )
            for each in self._get("query_exemplars", query)
            for exemplar in each["exemplars"]
            if "trace_id" in exemplar["labels"]
        ]

    def _get(self, what: str, query: str, **more: float) -> Any:
        parameters: dict[str, str | float] = {
            "query": query,
            "start": self._start,
            "end": self._end,
            **more,
        }
        response = self._http.get(f"/api/v1/{what}", params=parameters)
        if response.is_error:
            raise httpx.HTTPStatusError(
                f"Prometheus refused {query!r}: {response.text[:300]}",
                request=response.request,
                response=response,
            )
        return response.json()["data"]
