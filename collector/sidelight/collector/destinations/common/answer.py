"""Judges the HTTP answer to an export: delivered, retry, or rejected."""

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
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected, Retry

# A backend that names a date next year must not stop its destination for that long.
MAX_RETRY_AFTER_SECONDS = 3600.0
_MAX_WORDS_CHARACTERS = 200
# The closing quote may be cut off. An apostrophe inside a word does not open a quotation.
_QUOTED = re.compile(r"\"[^\"]*(?:\"|$)|(?<!\w)'[^']*(?:'|$)")
# 4xx statuses that time or a person can resolve. All others blame the batch.
_RETRIED = {
    401: "the credentials are not valid",
    402: "payment is due, or a quota is used up",
    403: "the credentials do not permit it",
    404: "not found",
    405: "POST is not allowed on this path",
    407: "a proxy requires credentials",
    408: "the backend waited too long for the request",
    415: "the endpoint does not accept protobuf or gzip, so it is the wrong one",
    421: "the request reached the wrong server",
    425: "the backend is not ready for the request",
    429: "the backend limits the rate of requests",
}


def judge(answer: Answer, *, url: str, credentials: str) -> Outcome:
    """The outcome of a POST to `url`. `credentials` says where they are configured.

    Every 5xx is retried: Langfuse answers 500 while its storage is down, and Phoenix 503 while
    its queue is full.
    """
    status = answer.status
    place = f"{url} answered {status}"
    if 200 <= status < 300:
        # A web UI answers 200 to every path.
        if _media_type(answer) == "text/html":
            return Retry(f"{place} with a web page, so it is not an OTLP endpoint; correct the url")
        return _delivered(answer)
    if 300 <= status < 400:
        target = plain(answer.headers.get("location", "elsewhere").partition("?")[0])
        # Credentials must not be sent to another address.
        return Retry(f"{place}: redirects are not followed; set the url to the new one, {target}")
    words = _words(answer)
    said = with_words("", words)
    if status in (401, 403):
        return Retry(f"{place}: {_RETRIED[status]}; check {credentials}{said}")
    if status in (404, 405, 415):
        return Retry(f"{place}: {_RETRIED[status]}; correct the url{said}")
    if status in _RETRIED:
        return Retry(f"{place}: {_RETRIED[status]}{said}", retry_after_seconds(answer))
    if status == 413:
        return Rejected(f"{place}: the batch is too large", status, words)
    if 400 <= status < 500:
        return Rejected(f"{place}: it rejects the batch", status, words)
    return Retry(f"{place}{said or ': the backend has a fault'}", retry_after_seconds(answer))


def retry_after_seconds(answer: Answer) -> float | None:
    """The answer's Retry-After, in seconds or as a date, at most an hour; None without one.

    A date is compared with the answer's own Date, if it has one: clocks may differ.
    """
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        # A number of seconds or an HTTP date (RFC 9110, section 10.2.3).
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
        # rejectedSpans, rejectedDataPoints or rejectedLogRecords; JSON has 64-bit numbers as text.
        counts = [str(value) for key, value in partial.items() if key.startswith("rejected")]
        # At most 18 digits: a backend can send anything, and the number goes into a counter.
        rejected = int(counts[0]) if counts and re.fullmatch("[0-9]{1,18}", counts[0]) else 0
        return Delivered(rejected, said=plain(str(partial.get("errorMessage", ""))))
    # The responses of all signals have the same fields on the wire.
    try:
        response = ExportTraceServiceResponse.FromString(answer.body)
    except DecodeError:
        return Delivered()
    partial_success = response.partial_success
    # The field is signed.
    rejected = max(0, partial_success.rejected_spans)
    return Delivered(rejected, said=plain(partial_success.error_message))


def with_words(reason: str, words: str) -> str:
    """`reason`, followed by the backend's own words in brackets, if there are any."""
    return f"{reason} (it says: {words})" if words else reason


def _words(answer: Answer) -> str:
    """The backend's own words on the request; empty if there are none."""
    kind = _media_type(answer)
    words = ""
    if kind == "application/json":
        values = _json(answer)
        # Langfuse says "message", FastAPI (Phoenix) "detail", others "error".
        texts = (values.get(key) for key in ("message", "detail", "error"))
        words = next((text for text in texts if isinstance(text, str)), "")
    elif kind == "application/x-protobuf":
        try:
            # A google.rpc.Status has its message in the same field.
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
    """The words as one short printable line.

    Quotations are removed unless they look like a name, because they may be a span's content.
    Content may also be there without quotes, so words about a batch only go to the dead
    letters.
    """
    beginning = words[: 4 * _MAX_WORDS_CHARACTERS]
    words = "".join(letter if letter.isprintable() else " " for letter in beginning)
    words = _QUOTED.sub(_name_or_ellipsis, words)
    words = " ".join(words.split())
    is_short = len(words) <= _MAX_WORDS_CHARACTERS
    return words if is_short else words[: _MAX_WORDS_CHARACTERS - 1] + "…"


def _name_or_ellipsis(quoted: re.Match[str]) -> str:
    return quoted[0] if re.fullmatch(r"[\w.:-]{1,40}", quoted[0][1:-1]) else "…"
