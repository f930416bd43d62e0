"""The one call of Prometheus's HTTP API that a check needs."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Final

_TIMEOUT_SECONDS: Final = 30
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class PrometheusError(Exception):
    """Prometheus cannot be reached or refused a query; the message has its reason."""


@dataclass(frozen=True, slots=True)
class PrometheusApi:
    """A Prometheus at an address such as `http://localhost:9090`; `at` is a Unix time, or now."""

    address: str
    at: float | None = None

    def query(self, expression: str) -> list[dict[str, str]]:
        """The labels of every series that an instant query returns.

        Raises `PrometheusError`.
        """
        parameters = {"query": expression} | ({"time": str(self.at)} if self.at else {})
        # As a form, because expressions are longer than a URL may be.
        request = urllib.request.Request(  # noqa: S310 (the user's own address)
            f"{self.address.rstrip('/')}/api/v1/query", urllib.parse.urlencode(parameters).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                document = json.loads(answer.read(_MAX_ANSWER_BYTES))
            return [series["metric"] for series in document["data"]["result"]]
        except urllib.error.HTTPError as error:
            raise PrometheusError(_reason(error)) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "reason", error)
            raise PrometheusError(
                f"{self.address} does not answer as Prometheus does ({reason}); correct the address"
            ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(_MAX_ANSWER_BYTES))["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"status {error.code}"
