"""Reads numbers and exemplars back from Prometheus."""

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
    """Queries a Prometheus about one time range.

    `start` and `end` are Unix times in seconds. All methods raise `httpx.HTTPError`, with
    Prometheus's own message if it rejects a query.
    """

    def __init__(self, url: str, start: float, end: float) -> None:
        self.url = url
        self.end = end
        self._http = httpx.Client(base_url=url, timeout=30)
        self._start = start

    def series(self, query: str) -> list[list[float]]:
        """The values of each series that a query returns, without NaN."""
        result = self._get("query_range", query, step=_STEP_SECONDS)["result"]
        numbers = ([float(value) for _, value in series["values"]] for series in result)
        # A NaN is not equal to itself.
        without_nan = ([value for value in values if value == value] for values in numbers)
        return [values for values in without_nan if values]

    def peak(self, query: str) -> float | None:
        """The highest value of all series of a query; None without data."""
        return max((max(values) for values in self.series(query)), default=None)

    def exemplars(self, query: str) -> list[FoundExemplar]:
        """The exemplars with a trace id of all series of a query."""
        return [
            FoundExemplar(
                series=series["seriesLabels"].get("__name__", ""),
                trace_id=exemplar["labels"]["trace_id"],
                value=float(exemplar["value"]),
            )
            for series in self._get("query_exemplars", query)
            for exemplar in series["exemplars"]
            if "trace_id" in exemplar["labels"]
        ]

    def _get(self, what: str, query: str, **more: float) -> Any:
        parameters: dict[str, str | float] = {
            "query": query,
            "start": self._start,
            "end": self.end,
            **more,
        }
        response = self._http.get(f"/api/v1/{what}", params=parameters)
        if response.is_error:
            raise httpx.HTTPStatusError(
                f"Prometheus rejected {query!r}: {response.text[:300]}",
                request=response.request,
                response=response,
            )
        return response.json()["data"]
