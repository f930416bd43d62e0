"""Export requests of real instrumentations: recorded spans, each with values of its own.

`demo` is what the demo sends, `mix` what LLM apps with several instrumentations send. Keys, their
order and the kinds of values are as recorded. Ids, times, numbers and texts are drawn, so that no
value comes twice and a cache of values gains nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from bench.collector.framing import read_framed
from support.paths import DATA

DISTINCT_SPANS: Final = 2560
"""Of a payload, over all its requests."""
_WORDS = (
    "the", "retrieval", "model", "answer", "question", "context", "document", "vector", "search",
    "latency", "token", "cache", "engine", "batch", "prefill", "decode", "price", "quarter",
)  # fmt: skip
# Characters of a text: mostly short ones, as of chats, and some with passages in them.
_TEXT_CHARACTERS = (60, 120, 250, 400, 900, 2900)
DRAWN, AS_RECORDED = -1, 0
"""Instead of a number of characters of a text."""
_EMAIL = " write to bob@example.org today"
SDK: Final = (
    ("telemetry.sdk.language", "python"),
    ("telemetry.sdk.name", "opentelemetry"),
    ("telemetry.sdk.version", "1.44.0"),
)
"""What OpenTelemetry's SDKs say of themselves in each resource."""
_SECRET_EVERY: Final = 10

SHARES: Final[dict[str, float]] = {
    "instrumentors/openinference-0.1": 0.15,
    "traffic/openinference-llama-index-4.6": 0.10,
    "instrumentors/openllmetry-0.62": 0.20,
    "instrumentors/openlit-1.45": 0.15,
    "traffic/langfuse-5.0": 0.10,
    "instrumentors/vllm-0.32": 0.10,
    "traffic/opentelemetry-0.66": 0.20,
}
"""The recordings of the mix, and their shares of its spans."""


class Sourced(NamedTuple):
    """A recorded span, with its recording, the scope it came in, and a salt for its ids."""

    recording: str
    scope: ScopeSpans
    span: Span
    salt: bytes = b""


def demo(spans: int) -> list[bytes]:
    """The demo's spans in requests of so many: own instrumentation, canonical names, 2.4 kB."""
    source = random.Random(4)
    return _requests(spans, _repeated(list(_demo_spans()), source), source, characters=AS_RECORDED)


def mix(spans: int) -> list[bytes]:
    """Spans of other instrumentations by `SHARES`, in requests of so many."""
    source = random.Random(5)
    return _requests(spans, _mixed(source), source)


def mix_with_secrets(spans: int) -> list[bytes]:
    """The mix with texts of 3 kB and an e-mail address in one of ten spans."""
    source = random.Random(6)
    return _requests(spans, _mixed(source), source, characters=2900, has_secrets=True)


def recorded(name: str) -> ExportTraceServiceRequest:
    """A recording of an instrumentation."""
    return json_format.Parse((DATA / f"{name}.json").read_text(), ExportTraceServiceRequest())


def _demo_spans() -> Iterator[Sourced]:
    data = gzip.decompress((DATA / "traffic" / "demo-traces.pb.gz").read_bytes())
    for body in read_framed(data):
        yield from _spans_of("demo", ExportTraceServiceRequest.FromString(body))


def _spans_of(name: str, request: ExportTraceServiceRequest) -> Iterator[Sourced]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Sourced(name, scope, span)


def _repeated(spans: list[Sourced], source: random.Random) -> Iterator[Sourced]:
    while True:
        # As recorded, so that spans of a trace come together, but each time with other ids.
        salt = source.randbytes(8)
        for each in spans:
            yield each._replace(salt=salt)


def _mixed(source: random.Random) -> Iterator[Sourced]:
    recordings = {name: _repeated(list(_spans_of(name, recorded(name))), source) for name in SHARES}
    names, weights = list(SHARES), list(SHARES.values())
    while True:
        yield next(recordings[source.choices(names, weights)[0]])


def _requests(
    size: int,
    spans: Iterator[Sourced],
    source: random.Random,
    *,
    characters: int = DRAWN,
    has_secrets: bool = False,
) -> list[bytes]:
    requests = []
    for _ in range(max(1, DISTINCT_SPANS // size)):
        taken = [next(spans) for _ in range(size)]
        # A recording is one service's, and an exporter groups by scope.
        taken.sort(key=lambda each: (each.recording, each.scope.scope.name))
        requests.append(_request(taken, source, characters, has_secrets=has_secrets))
    return requests


def _request(
    taken: Iterable[Sourced], source: random.Random, characters: int, *, has_secrets: bool
) -> bytes:
    request = ExportTraceServiceRequest()
    service, held_scope = "", None
    for number, each in enumerate(taken):
        if each.recording != service:
            resource = request.resource_spans.add()
            service, held_scope = each.recording, None
            for key, text in (*SDK, ("service.name", service)):
                resource.resource.attributes.add(key=key).value.string_value = text
        if held_scope is None or held_scope.scope.name != each.scope.scope.name:
            held_scope = request.resource_spans[-1].scope_spans.add(scope=each.scope.scope)
        has_secret = has_secrets and number % _SECRET_EVERY == 0
        held_scope.spans.append(_varied(each, source, characters, has_secret=has_secret))
    return request.SerializeToString()


def _varied(each: Sourced, source: random.Random, characters: int, *, has_secret: bool) -> Span:
    """The span with other ids, times, numbers and texts."""
    varied = Span()
    varied.CopyFrom(each.span)
    for name in ("trace_id", "span_id", "parent_span_id"):
        setattr(varied, name, _other_id(getattr(each.span, name), each.salt))
    shift = source.randrange(10**12)
    varied.start_time_unix_nano += shift
    varied.end_time_unix_nano += shift + source.randrange(10**9)
    for event in varied.events:
        event.time_unix_nano += shift
    for pair in varied.attributes:
        _vary(pair, source, characters)
    if has_secret:
        texts = [pair for pair in varied.attributes if " " in pair.value.string_value]
        if texts:
            value = texts[0].value
            value.string_value = _with_email(value.string_value)
        else:
            varied.attributes.add(key="note").value.string_value = _EMAIL
    return varied


def _other_id(recorded_id: bytes, salt: bytes) -> bytes:
    """The same for the same id, so that parents stay parents."""
    return hashlib.blake2b(recorded_id, salt=salt).digest()[: len(recorded_id)]


def _with_email(text: str) -> str:
    """The text with an address in the middle of it, behind a space, where JSON has no syntax."""
    at = text.index(" ", len(text) // 2) if " " in text[len(text) // 2 :] else text.index(" ")
    return text[:at] + _EMAIL + text[at:]


def _vary(pair: KeyValue, source: random.Random, characters: int) -> None:
    value: AnyValue = pair.value
    kind = value.WhichOneof("value")
    if kind == "string_value":
        value.string_value = _varied_text(pair.key, value.string_value, source, characters)
    elif kind == "double_value":
        value.double_value *= source.uniform(0.5, 1.5)
    elif kind == "int_value" and ("token" in pair.key or value.int_value > 1000):
        value.int_value = source.randrange(1, max(4096, 2 * value.int_value))


def _varied_text(key: str, text: str, source: random.Random, characters: int) -> str:
    if text[:1] in ("{", "["):
        try:
            parsed = json.loads(text)
        except ValueError:
            return text
        separators = (",", ":") if '": ' not in text else None
        return json.dumps(
            _varied_json(parsed, source, characters), separators=separators, ensure_ascii=False
        )
    if " " in text:
        return prose(source, characters or len(text))
    if key.endswith((".id", "_id")) and any(character.isdigit() for character in text):
        return f"{text.rpartition('-')[0]}-{source.randbytes(12).hex()}"
    return text


def _varied_json(value: Any, source: random.Random, characters: int) -> Any:
    if isinstance(value, str):
        return prose(source, characters or len(value)) if " " in value else value
    if isinstance(value, list):
        return [_varied_json(item, source, characters) for item in value]
    if isinstance(value, dict):
        return {key: _varied_json(item, source, characters) for key, item in value.items()}
    if isinstance(value, float):
        return value * source.uniform(0.5, 1.5)
    return value


def prose(source: random.Random, characters: int) -> str:
    """Words of so many characters, or of a drawn number of them."""
    length = source.choice(_TEXT_CHARACTERS) if characters == DRAWN else characters
    return " ".join(source.choice(_WORDS) for _ in range(max(2, length // 7)))
