"""`otlp/native/` compiled for tests, and compared with protobuf on whatever bytes.

`python -m support.wire MODULE MUTATIONS` compares on mutated traffic; tests run it with a module
that was compiled with sanitizers.
"""

from __future__ import annotations

import importlib.util
import random
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from bench.collector import traffic
from bench.collector.payloads import llm
from sidelight.collector.processors.limits.ids import fault
from sidelight.collector.processors.repair.texts import repair_span
from sidelight.otlp.check import MAX_PARTS, WHOLE_BYTES
from sidelight.otlp.inheritance import OWN_SOURCES, searched_kin
from sidelight.otlp.otlp_pb2 import Request, SpanHead, SpanTraits
from sidelight.otlp.schema import schema
from sidelight.otlp.span import value
from sidelight.otlp.wire import CLEAN, NOT_SURE
from support.paths import ROOT

SCHEMA: Final = schema(ExportTraceServiceRequest)
_SOURCES: Final = ROOT / "collector" / "sidelight" / "otlp" / "native"
COMPILER: Final = (sysconfig.get_config_var("CC") or "cc").split()
NEEDS_COMPILER: Final = pytest.mark.skipif(
    shutil.which(COMPILER[0]) is None
    or not Path(sysconfig.get_path("include"), "Python.h").is_file(),
    reason="no C compiler, or no header files of Python",
)
# Bytes that mean something: tags, lengths, escapes, the beginnings of long characters.
_TELLING: Final = (
    b"\x00\x01\x02\x08\x0a\x10\x12\x18\x21\x22\x2a\x4a\x5a\x7a\x7f\x80\xc3\xed\xf4\xff\\u"
)


def build(path: Path, *options: str) -> None:
    """Compile the module. Raises `OSError` without a compiler, and where it has a warning."""
    include = ("-I", sysconfig.get_path("include"))
    flags = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", *options)
    sources = sorted(map(str, _SOURCES.glob("*.c")))
    subprocess.run([*COMPILER, *flags, *include, *sources, "-o", str(path)], check=True)


def load(path: Path) -> Any:
    """The compiled module, for the caller alone."""
    spec = importlib.util.spec_from_file_location("sidelight.otlp._wire", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def survey(native: Any, body: bytes, whole_bytes: int = WHOLE_BYTES) -> int:
    """What it says of a request for spans."""
    answer: int = native.survey(SCHEMA, body, whole_bytes, MAX_PARTS)
    return answer


def compare_request(native: Any, body: bytes) -> int:
    """What is called valid is valid, and what is called clean needs no repair."""
    answer = survey(native, body)
    if answer == NOT_SURE:
        return answer
    full = ExportTraceServiceRequest.FromString(body)
    if answer == CLEAN:
        for item in items_of(body):
            assert fault(item) is None
        for resource in full.resource_spans:
            for scope in resource.scope_spans:
                assert not any(map(repair_span, scope.spans))
    return answer


def compare_span(native: Any, item: bytes) -> bool:
    """A walked span says what protobuf says; whether it was walked."""
    _compare_kin(native, item)
    walked = native.walk(item)
    try:
        span = Span.FromString(item)
    except DecodeError:
        # It may be walked, since texts are looked at elsewhere. Nothing of it may end the process.
        if walked is not None:
            _read(walked)
        return False
    if walked is None:
        return False
    pairs = span.attributes
    assert walked.names() == [pair.key for pair in pairs]
    assert repr([walked.value(at) for at in range(len(pairs))]) == repr(
        [value(pair.value) for pair in pairs]
    )
    texts = [pair.value.string_value for pair in pairs]
    assert [walked.text(at) for at in range(len(pairs))] == texts
    assert walked.head() == (
        span.trace_id, span.span_id, span.parent_span_id, span.name, span.kind,
        span.start_time_unix_nano, span.end_time_unix_nano,
    )  # fmt: skip
    for fact in ("name", "parent_span_id", "start_time_unix_nano"):
        assert getattr(walked, fact) == getattr(span, fact)
    assert walked.has_events == (len(span.events) > 0)
    assert walked.is_error == (span.status.code == Status.STATUS_CODE_ERROR)
    empty = [pair.value.WhichOneof("value") == "string_value" for pair in pairs]
    assert walked.may_have_empty == any(
        is_text and not text for is_text, text in zip(empty, texts, strict=True)
    )
    _compare_edited(walked, item, span)
    return True


def _compare_kin(native: Any, item: bytes) -> None:
    """The ids, and which of the names that are inherited a span has."""
    known = native.kin([item], OWN_SOURCES)
    if known is None:
        return
    ((trace_id, span_id, parent_span_id, names),) = known
    head = SpanHead.FromString(item)
    assert (trace_id, span_id, parent_span_id) == (
        head.trace_id, head.span_id, head.parent_span_id,
    )  # fmt: skip
    try:
        held = SpanTraits.FromString(item).attributes
    except DecodeError:  # its status is no message
        return
    assert known == searched_kin([item])
    starts = [any(pair.startswith(start) for pair in held) for start in OWN_SOURCES]
    assert names == sum(is_there << bit for bit, is_there in enumerate(starts))


def _compare_edited(walked: Any, item: bytes, span: Span) -> None:
    """Attributes that stay, go, come, and get the value of another."""
    pairs = span.attributes[:]
    assert walked.edited(list(range(len(pairs)))) == item
    new = Span(attributes=[KeyValue(key="new")]).SerializeToString()
    name = KeyValue(key="renamed").SerializeToString()
    parts: list[Any] = [new]
    expected = Span.FromString(item)
    del expected.attributes[:]
    expected.attributes.add(key="new")
    for at in reversed(range(0, len(pairs), 2)):
        parts += [at, (name, at)]
        expected.attributes.add().CopyFrom(pairs[at])
        expected.attributes.add(key="renamed").value.CopyFrom(pairs[at].value)
    assert Span.FromString(walked.edited(parts)).SerializeToString(
        deterministic=True
    ) == expected.SerializeToString(deterministic=True)


def _read(walked: Any) -> None:
    for read in (walked.names, walked.head, lambda: walked.edited([0, (b"name", 1)])):
        try:
            read()
        except (UnicodeDecodeError, IndexError):
            continue
    at = 0
    while True:
        try:
            walked.value(at)
            walked.text(at)
        except UnicodeDecodeError:
            pass
        except IndexError:
            return
        at += 1


def bodies() -> list[bytes]:
    """Small requests of each kind of recorded traffic."""
    return [*traffic.mix(16)[:20], *traffic.demo(16)[:8], *traffic.mix_with_secrets(4)[:4], llm(8)]


def items_of(body: bytes) -> list[bytes]:
    """The serialised spans of a request."""
    request = Request.FromString(body)
    return [
        item for resource in request.resources for scope in resource.scopes for item in scope.items
    ]


def mutated(source: bytes, count: int, drawn: random.Random) -> Iterator[bytes]:
    """The bytes with one to three places changed, taken out, put in, or moved."""
    for _ in range(count):
        made = bytearray(source)
        for _ in range(drawn.randint(1, 3)):
            at = drawn.randrange(len(made) + 1)
            match drawn.randrange(4):
                case 0:
                    made[at : at + 1] = bytes([drawn.choice(_TELLING)])
                case 1:
                    made[at : at + 1] = drawn.randbytes(1)
                case 2:
                    del made[at : at + drawn.randint(1, 12)]
                case _:
                    other = drawn.randrange(len(made) + 1)
                    made[at:at] = made[other : other + drawn.randint(1, 40)]
        yield bytes(made)


def fuzz(native: Any, count: int, seed: int = 0) -> None:
    """Compare on recorded requests and spans: whole, each beginning of them, and mutated."""
    drawn = random.Random(seed)
    requests = bodies()
    for body in requests:
        assert compare_request(native, body) == CLEAN
        for item in items_of(body):
            assert compare_span(native, item)
    items = [item for body in requests for item in items_of(body)]
    for item in items[::16]:
        for end in range(len(item)):
            compare_span(native, item[:end])
    for end in range(len(requests[0])):
        compare_request(native, requests[0][:end])
    for _ in range(count):
        for made in mutated(drawn.choice(items), 8, drawn):
            compare_span(native, made)
        for made in mutated(drawn.choice(requests), 1, drawn):
            compare_request(native, made)


if __name__ == "__main__":
    fuzz(load(Path(sys.argv[1])), int(sys.argv[2]))
    sys.stdout.write("equal\n")
