"""Lets pages of allowed origins send from a browser.

The protocol is https://fetch.spec.whatwg.org/#http-cors-protocol. It only tells browsers what a
page may do; who may send is decided by tokens, as for any sender.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator

from sidelight.base.http_server import Admit, Handler, Head, HttpRequest, HttpResponse
from sidelight.collector.metrics.instruments import Counter

# Chrome's own limit is two hours.
_PREFLIGHT_SECONDS: Final = 7200
_ORIGIN: Final = re.compile(
    r"(https?)://((?:\*\.)?[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.IGNORECASE
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# What a browser may ask to send; the names go into a header of ours as they came.
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~ ,-]{1,1024}")


def _origin(text: str) -> str:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError(
            "must be an origin such as https://app.example.com or https://*.example.com: scheme, "
            "host and perhaps a port, without a path"
        )
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    # Browsers leave a default port out.
    return f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[scheme] else "")


Origin = Annotated[str, AfterValidator(_origin)]
"""An origin of `cors`; `*.` stands for any subdomains."""


class Cors:
    """The allow-list of one receiver."""

    def __init__(self, origins: Sequence[str]) -> None:
        pattern = "|".join(
            re.escape(origin).replace(r"\*\.", r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.")
            for origin in origins
        )
        self._allowed = re.compile(pattern)
        # A page sends again and again; other origins are forgotten.
        self._known = lru_cache(maxsize=64)(self._headers)

    def added(self, asked: Mapping[str, str]) -> Mapping[str, str]:
        """What is added to the answer of every request; `asked` are the request's headers."""
        return self._known(asked.get("origin", ""))

    def _headers(self, origin: str) -> dict[str, str]:
        # Also without an origin: a cache must not give a page the answer that another got.
        headers = {"Vary": "Origin"}
        if self._allowed.fullmatch(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
        return headers

    def preflight(self, asked: Mapping[str, str]) -> HttpResponse:
        """The answer to a browser that asks what a page may send."""
        if not self._allowed.fullmatch(asked["origin"]):
            sentence = "the origin is not allowed; add it to receivers.otlp_http.cors\n"
            return HttpResponse(403, sentence.encode(), {"Content-Type": "text/plain"})
        headers = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
        }
        wanted = asked.get("access-control-request-headers", "")
        if _HEADER_NAMES.fullmatch(wanted):
            headers["Access-Control-Allow-Headers"] = wanted
        if asked.get("access-control-request-private-network") == "true":
            headers["Access-Control-Allow-Private-Network"] = "true"
        return HttpResponse(204, b"", headers)

    def handler(self, handle: Handler, requests: Counter) -> Handler:
        """`handle`, with preflights answered and counted."""

        async def answer(request: HttpRequest) -> HttpResponse:
            if not is_preflight(request.method, request.headers):
                return await handle(request)
            preflight = self.preflight(request.headers)
            requests.labels("http", str(preflight.status)).inc()
            return preflight

        return answer


def without_preflights(admit: Admit) -> Admit:
    """`admit`, except for preflights: browsers send no credentials with them."""

    def ask(head: Head) -> HttpResponse | None:
        return None if is_preflight(head.method, head.headers) else admit(head)

    return ask


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser asks for permission, before it sends for a page."""
    return (
        method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
    )
