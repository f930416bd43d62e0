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

from sidelight.base.configuration.section import ConfigError
from sidelight.base.http_client.client import Answer, NoAnswerError
from sidelight.base.marks import mark_of
from sidelight.collector.destinations.common.outcome import (
    Delivered,
    Failure,
    Outcome,
    Rejected,
    Retry,
)

# A backend that names a date next year must not stop its destination for that long.
MAX_RETRY_AFTER_SECONDS = 3600.0
_MAX_WORDS_CHARACTERS = 200
LARGE_BYTES = 1024 * 1024
"""nginx's limit of a body, the smallest that is common."""
# The closing quote may be cut off. An apostrophe inside a word does not open a quotation.
_QUOTED = re.compile(r"\"[^\"]*(?:\"|$)|(?<!\w)'[^']*(?:'|$)")
# 4xx statuses that time or a person can resolve. All others seem to blame the batch.
_RETRIED = {
    401: "the credentials are not valid; check {credentials}",
    402: "payment is due, or a quota is used up; settle it with the backend's operator",
    403: "the credentials do not permit it; check {credentials}",
    404: "not found; correct the url",
    405: "POST is not allowed on this path; correct the url",
    406: "the endpoint cannot answer as OTLP requires, so it is the wrong one; correct the url",
    407: "a proxy requires credentials; add them to the url of the proxy",
    408: "the backend waited too long for the request; check the network to it",
    410: "the endpoint is gone; correct the url",
    411: "it requires another form of request; check the proxy before the backend",
    415: "the endpoint does not accept protobuf or gzip, so it is the wrong one; correct the url",
    417: "it does not meet an expectation; check the proxy before the backend",
    421: "the request reached the wrong server; correct the url",
    423: "the endpoint is locked; unlock it in the backend",
    424: "something that the backend depends on has failed; check the backend",
    425: "the backend is not ready for the request; wait until it has started",
    426: "it requires another protocol; correct the url, perhaps to https://",
    428: "it requires a condition; check the proxy before the backend",
    429: "the backend limits the rate of requests; raise its limit or set pace_items_per_second",
    431: "the headers are too large; shorten {credentials}",
    451: "it is blocked for legal reasons; ask the backend's operator",
    499: "something before the backend gave up; raise the timeout of that proxy",
}
# Media types whose names may be logged; a backend can put anything there.
_KINDS = ("application/json", "application/x-protobuf", "text/html", "text/plain")


def judge(answer: Answer, *, url: str, credentials: str) -> Outcome:
    """The outcome of a POST to `url`. `credentials` says where they are configured.

    Every 5xx is retried: Langfuse answers 500 while its storage is down, and Phoenix 503 while
    its queue is full.
    """
    status = answer.status
    place, cause = f"{url} answered {status}", f"http_{status}"
    if 200 <= status < 300:
        # A web UI answers 200 to every path.
        if _media_type(answer) == "text/html":
            return Retry(
                f"{place} with a web page, so it is not an OTLP endpoint; correct the url",
                cause="web_page",
            )
        return _delivered(answer)
    after, said, mark = retry_after_seconds(answer), _words(answer), _mark(answer)
    if 300 <= status < 400:
        # Credentials must not be sent to another address. The address may hold what was sent.
        return Retry(
            f"{place}: redirects are not followed; set the url to the address that curl -I shows",
            cause=cause,
            said=plain(answer.headers.get("location", "")),
        )
    if status in _RETRIED:
        why = _RETRIED[status].format(credentials=credentials)
        is_pressure = status == 429
        return Retry(f"{place}: {why}", after, cause, said, mark, is_destinations=is_pressure)
    if status == 413:
        why = f"{place}: the batch is too large; raise the limit of the backend"
        return Rejected(why, status, said, cause, mark)
    if 400 <= status < 500:
        why = f"{place}: it rejects the batch; see what it says in the dead letters"
        return Rejected(why, status, said, cause, mark)
    why = f"{place}: the backend has a fault; look into its log"
    is_pressure = status == 503 and after is not None
    return Retry(why, after, cause, said, mark, is_destinations=is_pressure)


def no_answer(
    error: NoAnswerError | ConfigError, *, sent_bytes: int, accepted_bytes: int
) -> Failure:
    """The outcome of a request that got no answer.

    `sent_bytes` is the size of its body, `accepted_bytes` the largest that was ever accepted.
    """
    if isinstance(error, ConfigError):
        return Retry(str(error), cause="secret", is_destinations=True)
    if error.cause == "reset" and sent_bytes > max(accepted_bytes, LARGE_BYTES):
        # Servers that do not read a large body to its end reset the connection, which also
        # destroys a 413 that they have sent (RFC 9112, section 9.6).
        why = f"{error}, perhaps for a body of {sent_bytes} bytes; raise the limit of the backend"
        return Rejected(why, 413, cause="reset", is_large=True)
    # A timeout or a reset may be the work of one item; the others come before anything is sent.
    is_destinations = error.cause not in ("reset", "timeout", "not_http")
    return Retry(str(error), cause=error.cause, is_destinations=is_destinations)


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


def _mark(answer: Answer) -> str:
    kind = _media_type(answer)
    return mark_of(kind if kind in _KINDS else "another type", answer.body)


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
    A backend may also quote content without marks, so what it says of a batch is kept with the
    dead letters only.
    """
    beginning = words[: 4 * _MAX_WORDS_CHARACTERS]
    words = "".join(letter if letter.isprintable() else " " for letter in beginning)
    words = _QUOTED.sub(_name_or_ellipsis, words)
    words = " ".join(words.split())
    is_short = len(words) <= _MAX_WORDS_CHARACTERS
    return words if is_short else words[: _MAX_WORDS_CHARACTERS - 1] + "…"


def _name_or_ellipsis(quoted: re.Match[str]) -> str:
    return quoted[0] if re.fullmatch(r"[\w.:-]{1,40}", quoted[0][1:-1]) else "…"
