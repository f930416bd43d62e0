"""Recognises URLs that are no base URL of a backend: a signal's path, a page of its UI."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

_SIGNAL_PATH = re.compile(r"/v1/(?:traces|metrics|logs)$")


def base_url_problem(url: str) -> str | None:
    """Whether the URL already has the path that OTLP/HTTP adds."""
    added = _SIGNAL_PATH.search(urlsplit(url).path)
    return None if added is None else f"must end before {added[0]}, which is added"


def no_page_of(backend: str, *pages: str) -> Callable[[str], str | None]:
    """A check that the URL is the backend's base URL and has none of its own `pages`."""
    own = re.compile(rf"/(?:{'|'.join(pages)})(?=/|$)")

    def problem(url: str) -> str | None:
        page = own.search(urlsplit(url).path)
        if page is None:
            return base_url_problem(url)
        return f"must be the base URL of {backend}, which ends before {page[0]}"

    return problem
