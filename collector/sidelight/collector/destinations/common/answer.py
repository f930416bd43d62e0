"""What an HTTP answer to an export means: delivered, try again, or never."""

from __future__ import annotations

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from sidelight.base.http_client.client import Answer
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Refused, Retry

MAX_RETRY_AFTER_SECONDS = 3600.0
_MAX_SAID = 200
# A closing quote may have been cut away; an apostrophe inside a word opens nothing.
_QUOTED = re.compile(r"\"[^\"]*(?:\"|$)|(?<!\w)'[^']*(?:'|$)")
# Those 4xx that time or a person can resolve; the others blame the batch itself.
_MENDABLE = {
    401: "it does not accept the credentials",
    402: "payment is due, or a quota is used up",
    403: "the credentials do not allow it",
    404: "not found",
    405: "it does not take POST on this path",
    407: "a proxy requires credentials",
    408: "it waited too long for the request",
    415: "it takes neither protobuf nor gzip, so it is the wrong endpoint",
    421: "the request reached the wrong server",
    425: "it is too early",
    429: "it limits the rate of requests",
}


def judge(answer: Answer, *, url: str, credentials: str) -> Outcome:
    """The outcome of a POST to `url`; `credentials` says where a person finds them.

    Langfuse answers 500 while its storage is down and Phoenix 503 while its queue is full,
    so every 5xx is tried again.
    """
    status = answer.status
    place = f"{url} answered {status}"
    if 200 <= status < 300:
        if _media_type(answer) == "text/html":
            return Retry(f"{place} with a web page: nothing takes OTLP there; correct the url")
        return _delivered(answer)
    if 300 <= status < 400:
        target = plain(answer.headers.get("location", "elsewhere").partition("?")[0])
        return Retry(f"{place}: redirects are not followed; put the address it names, {target}")
    words = _words(answer)
    said = with_words("", words)
    if status in (401, 403):
        return Retry(f"{place}: {_MENDABLE[status]}; check {credentials}{said}")
    if status in (404, 405, 415):
        return Retry(f"{place}: {_MENDABLE[status]}; correct the url{said}")
    if status in _MENDABLE:
        return Retry(f"{place}: {_MENDABLE[status]}{said}", retry_after_seconds(answer))
    if status == 413:
        return Refused(f"{place}: the batch is too large", status, words)
    if 400 <= status < 500:
        return Refused(f"{place}: it does not take the batch", status, words)
    return Retry(f"{place}{said or ': it has trouble of its own'}", retry_after_seconds(answer))


def retry_after_seconds(answer: Answer) -> float | None:
    """The answer's Retry-After, in seconds or as a date, at most an hour; None if there is none.

    A date counts from the answer's own Date where it has one: the clocks may differ.
    """
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text) if text.isascii() and text.isdigit() else _date(text) - _now(answer)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)


def _now(answer: Answer) -> float:
    sent = answer.headers.get("date")
    try:
        return _date(sent) if sent else time.time()
    except (TypeError, ValueError, OverflowError):
        return time.time()


def _date(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def _delivered(answer: Answer) -> Delivered:
    if _media_type(answer) == "application/json":
        partial = _json(answer).get("partialSuccess")
        if not isinstance(partial, dict):
            return Delivered()
        counts = [str(value) for key, value in partial.items() if key.startswith("rejected")]
        rejected = int(counts[0]) if counts and re.fullmatch("[0-9]{1,18}", counts[0]) else 0
        return Delivered(rejected, said=plain(str(partial.get("errorMessage", ""))))
    # The three signals' responses have the same fields on the wire.
    try:
        response = ExportTraceServiceResponse.FromString(answer.body)
    except DecodeError:
        return Delivered()
    partial_success = response.partial_success
    rejected = max(0, partial_success.rejected_spans)
    return Delivered(rejected, said=plain(partial_success.error_message))


def with_words(reason: str, words: str) -> str:
    """`reason` and, as its bracketed end, the backend's own words if there are any."""
    return f"{reason} (it says: {words})" if words else reason


def _words(answer: Answer) -> str:
    """The backend's own words, or nothing."""
    kind = _media_type(answer)
    words = ""
    if kind == "application/json":
        values = _json(answer)
        found = [values.get(key) for key in ("message", "detail", "error")]
        words = next((each for each in found if isinstance(each, str)), "")
    elif kind == "application/x-protobuf":
        try:
            # google.rpc.Status: its message stands in the same field as this one's.
            words = ExportTracePartialSuccess.FromString(answer.body).error_message
        except DecodeError:
            words = ""
    elif kind == "text/plain":
        words = answer.body.decode("utf-8", "replace").partition("\n")[0]
    return plain(words)


def _json(answer: Answer) -> dict[str, Any]:
    try:
        values = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def plain(words: str) -> str:
    """One short printable line.

    What is quoted goes unless it looks like a name, because it may be a span's content.
    Content may stand there unquoted too: where the words judge a batch they go to the dead
    letters alone.
    """
    words = "".join(each if each.isprintable() else " " for each in words[: 4 * _MAX_SAID])
    words = _QUOTED.sub(_name_or_ellipsis, words)
    words = " ".join(words.split())
    return words if len(words) <= _MAX_SAID else words[: _MAX_SAID - 1] + "…"


def _name_or_ellipsis(quoted: re.Match[str]) -> str:
    return quoted[0] if re.fullmatch(r"[\w.:-]{1,40}", quoted[0][1:-1]) else "…"
