"""Redaction: what is masked, what is left alone, and that speed leaves nothing out."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.pipeline import Pipeline
from sidelight.collector.processors.redact import texts
from sidelight.collector.processors.redact.processor import RedactProcessor
from sidelight.collector.processors.redact.redactor import Redactor
from sidelight.collector.processors.redact.rules import RULES, Rule
from sidelight.otlp import varint
from sidelight.otlp.otlp_pb2 import Request
from support.processing import (
    any_value,
    pairs,
    processed,
    processed_logs,
    processed_span,
    read_slowly,
    request,
    span,
    spans,
    texts_of,
    values,
)

REDACTOR = Redactor(RULES)


def _field(number: int, message: Message | bytes) -> bytes:
    """A message as a field of another, on the wire."""
    content = message if isinstance(message, bytes) else message.SerializeToString()
    return bytes([number << 3 | 2]) + varint.encode(len(content)) + content


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nx+/=\n-----END RSA PRIVATE KEY-----"

FOUND = {
    "email": [
        "bob@example.org",
        "O'Brien@mail.example.co.uk",
        "müller@straße.de",
        "bob%40example.org",
        "x.y+tag@sub-domain.example",
        "a@пример.рф",
    ],
    "phone": ["+49 170 1234567", "+1 (555) 123-4567", "(555) 123-4567", "555-123-4567",
              "00491701234567"],
    "card": ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111",
             "5500005555555559", "378282246310005", "3782 822463 10005", "2223003122003222",
             "6011111111111117", "30569309025904", "3530111333300000"],
    "iban": ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "NO9386011117947",
             "GB82 WEST 1234 5698 7654 32", "fr1420041010050500013m02606",
             "AD1200012030200359100100", "AE07 0331 2345 6789 0123 456", "BA391290079401028494",
             "be68539007547034", "EE38 2200 2210 2014 5685"],
    "api_key": [
        "sk-proj-abcdefghij1234567890", "sk-ant-api03-abcdefghij1234567890",
        "sk-lf-1b2c3d4e-aaaa-4bbb-8ccc-1234567890ab", "pk-lf-1b2c3d4e-aaaa-4bbb-8ccc-1234567890ab",
        "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_11ABCDEFG0abcdefghijkl_xyz", "hf_abcdefghijABCDEFGHIJ0123456789abcd",
        "AIzaSyA-1234567890abcdefghijklmnopqrstu", "xoxb-123456789012-abcdefGHIJ",
        "glpat-abcdefghij1234567890", "nvapi-abcdefghij1234567890ABCD",
        "sk_live_" + "abcdefghij1234567890",
    ],
    "jwt": [JWT],
    "private_key": [PEM],
}  # fmt: skip
LEFT_ALONE = [
    "someone @ home",
    "numpy@1.26.4",
    "0.4532015112830366",  # a score whose digits pass Luhn's check
    "4111111111111112",  # a wrong check digit
    "1795419195541125423",  # nanoseconds
    "550e8400-e29b-41d4-a716-446655440000",
    "chatcmpl-0123456789abcdef0123456789abcdef",
    "DE88370400440532013000",  # a wrong check sum
    "DE8937040044053201300012",  # too long for Germany
    "2026-11-23T12:34:56.789+01:00",
    "192.168.100.124:8000",
    "task-force-of-many-people-1234567890",
    "sk-learn-pipelines-are-useful",
    "the bearer of this letter is known",
    "basic understanding of things",
    "eyJ is how base64 of a JSON object begins",
    "https://example.org:8080/path?x=1",
    "0012345678",
]


def masked(text: str) -> tuple[str, dict[str, int]]:
    """A text after redaction, and the counts."""
    counts: Counter[str] = Counter()
    return REDACTOR.text(text.encode(), counts).decode(), dict(counts)


class TestRules:
    @pytest.mark.parametrize(
        ("rule", "text"), [(rule, text) for rule, found in FOUND.items() for text in found]
    )
    def test_masks(self, rule: str, text: str) -> None:
        """What a rule is for is masked and counted, alone and in a sentence."""
        mark = next(each.mark for each in RULES if each.name == rule)
        assert masked(text) == (mark, {rule: 1})
        assert masked(f"see: {text}, thanks") == (f"see: {mark}, thanks", {rule: 1})
        assert masked(f"first {text}\n{text} twice.")[0] == f"first {mark}\n{mark} twice."

    @pytest.mark.parametrize("text", LEFT_ALONE)
    def test_leaves_alone(self, text: str) -> None:
        """What only looks alike stays."""
        assert masked(text) == (text, {})

    def test_context_stays(self) -> None:
        """Of credentials in context only the secret is masked."""
        cases = {
            "Authorization: Bearer abcdef1234567890==": "Authorization: Bearer [token]",
            "authorization: Basic dXNlcjpwYXNz": "authorization: Basic [token]",
            "postgres://bob:s3cret@db.example/x": "postgres://bob:[password]@db.example/x",
            f"aws_secret_access_key = {'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'}": (
                "aws_secret_access_key = [api_key]"
            ),
        }
        assert {text: masked(text)[0] for text in cases} == cases

    def test_a_number_is_found_beside_others(self) -> None:
        """A match that takes in what stands beside it does not hide the right one."""
        assert masked("2 4111 1111 1111 1111 123")[0] == "2 [card] 123"
        assert masked("BE68 5390 0754 7034 when paid")[0] == "[iban] when paid"
        assert masked("0049 170 1234567 0012345678")[0] == "[phone] 0012345678"

    def test_text_behind_a_key_block_stays(self) -> None:
        """Only the block itself goes; of one that was cut off, all that may belong to it."""
        assert masked(f"key: {PEM[:60]}")[0] == "key: [private_key]"
        assert masked(f"{PEM}\nand then text")[0] == "[private_key]\nand then text"


class TestJson:
    def test_json_stays_json(self) -> None:
        """Strings, keys, nested JSON, escapes and bare numbers are masked, and it still parses."""
        text = json.dumps(
            {
                "text": "hi\nbob@example.org",
                "card": 4111111111111111,
                "score": 0.4532015112830366,
                "al@example.org": 1,
                "bo@example.org": 2,
                "arguments": json.dumps({"to": "M\u00fcller\u00e9\tm\u00fcller@example.org"}),
            }
        )
        parsed = json.loads(masked(text)[0])
        assert parsed == {
            "text": "hi\n[email]",
            "card": "[card]",
            "score": 0.4532015112830366,
            "[email]": 1,
            "[email]'": 2,
            "arguments": json.dumps(
                {"to": "Müllé\t[email]".replace("ll", "ller")}, ensure_ascii=False
            ),
        }

    def test_cut_json(self) -> None:
        """JSON cut off by a cap is masked as well, and an escape before a match stays whole."""
        text = '[{"a": "x\\nbob@example.org and \\nsk-abcdefghij1234567890", "b": "cut'
        assert masked(text)[0] == '[{"a": "x\\n[email] and \\n[api_key]", "b": "cut'

    def test_half_a_surrogate_pair(self) -> None:
        """What cannot be UTF-8 is written as an escape again."""
        text = '["\\ud800 bob@example.org"]'
        assert masked(text)[0] == '["\\ud800 [email]"]'

    def test_deep_json(self) -> None:
        """Nesting beyond what a parser takes is masked as plain text."""
        text = "[" * 50_000 + '"bob@example.org"' + "]" * 50_000
        assert "bob@example.org" not in masked(text)[0]

    def test_a_secret_known_by_its_key(self) -> None:
        """A value is masked for the sake of the key beside it."""
        secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
        text = json.dumps({"secret_access_key": secret, "to": "bob@example.org"})
        assert json.loads(masked(text)[0]) == {"secret_access_key": "[api_key]", "to": "[email]"}


class TestSpans:
    def test_everywhere_in_a_span(self) -> None:
        """Name, status, attributes at any depth, events, links, resource and scope are masked."""
        one = span(
            {"a": "bob@example.org", "b": ["x", {"bob@example.org": b"bob@example.org"}], "n": 7},
            name="GET /bob@example.org",
            events=[("exception", {"exception.message": "no bob@example.org"})],
        )
        one.status.message = "bob@example.org unknown"
        one.links.add().attributes.extend(pairs({"l": "bob@example.org"}))
        full = request([one])
        (resource,) = full.resource_spans
        resource.resource.attributes.extend(pairs({"process.command_line": "x bob@example.org"}))
        resource.scope_spans[0].scope.attributes.extend(pairs({"s": "bob@example.org"}))
        made, done = processed(Pipeline(redact=RedactProcessor(REDACTOR)), full)
        assert b"bob@" not in made.SerializeToString()
        assert done.redacted == {"email": 9}
        again, _ = processed(Pipeline(redact=RedactProcessor(REDACTOR)), full)
        assert again == made

    def test_nothing_hides_in_a_part_that_stands_twice(self) -> None:
        """Readers merge a resource or scope that is given twice, and so both are masked."""
        secret = pairs({"process.command_line": "x bob@example.org"})
        scope = _field(1, InstrumentationScope(attributes=secret)) + _field(
            1, InstrumentationScope(name="sidelight.test")
        )
        holder = (
            _field(1, Resource(attributes=secret))
            + _field(1, Resource(attributes=pairs({"service.name": "app"})))
            + _field(2, scope + _field(2, span()))
        )
        request = Request.FromString(_field(1, holder))
        assert Pipeline(redact=RedactProcessor(REDACTOR)).traces(request).redacted == {"email": 2}
        (made,) = ExportTraceServiceRequest.FromString(request.SerializeToString()).resource_spans
        assert b"bob@" not in made.SerializeToString()
        assert made.scope_spans[0].scope.name == "sidelight.test"
        assert [pair.key for pair in made.resource.attributes] == [
            "process.command_line",
            "service.name",
        ]

    def test_a_resource_seen_before_is_masked_again(self) -> None:
        """The second request of a process is masked and counted as the first."""
        pipeline = Pipeline(redact=RedactProcessor(REDACTOR))
        full = request([span()], service="bob@example.org")
        for _ in range(2):
            made, done = processed(pipeline, full)
            assert b"bob@" not in made.SerializeToString()
            assert done.redacted == {"email": 1}

    def test_logs(self) -> None:
        """Bodies and attributes of log records are masked."""
        full = ExportLogsServiceRequest()
        scope = full.resource_logs.add().scope_logs.add()
        for body in ("mail bob@example.org", {"to": ["bob@example.org"]}, "nothing"):
            scope.log_records.add(body=any_value(body)).attributes.extend(
                pairs({"x": "bob@example.org" if body != "nothing" else "y"})
            )
        made, done = processed_logs(Pipeline(redact=RedactProcessor(REDACTOR)), full)
        assert b"bob@" not in made.SerializeToString()
        assert done.redacted == {"email": 4}

    def test_what_holds_nothing_stays_the_same_bytes(self) -> None:
        """A request without a find is not written anew."""
        _, done = processed(
            Pipeline(redact=RedactProcessor(REDACTOR)), request([span({"a": "text"})])
        )
        assert not done.changed


class TestFraming:
    @pytest.mark.parametrize("rule", FOUND)
    def test_at_the_beginning_of_texts_of_any_length(self, rule: str) -> None:
        """A text's length before it, whatever byte that is, hides nothing."""
        secret = FOUND[rule][0]
        made, done = processed(
            Pipeline(redact=RedactProcessor(REDACTOR)),
            request([span({"a": f"{secret} {' ' * extra}"}) for extra in range(300)]),
        )
        assert done.redacted == {rule: 300}
        assert secret.encode() not in made.SerializeToString()

    def test_in_every_place(self) -> None:
        """The same for names, status messages, bytes and keys of maps."""
        secret = "4111111111111111"
        spans_ = []
        for extra in range(130):
            text = secret + " " * extra
            one = span({"a": text.encode(), "b": {text: 1}, "c": [text]}, name=text,
                       events=[(text, {})])  # fmt: skip
            one.status.message = text
            spans_.append(one)
        for each in spans_:
            for place in ("name", "status", "attributes", "events"):
                alone = Span(trace_id=each.trace_id, span_id=each.span_id)
                if place == "name":
                    alone.name = each.name
                elif place == "status":
                    alone.status.CopyFrom(each.status)
                else:
                    getattr(alone, place).extend(getattr(each, place))
                made, _ = processed(Pipeline(redact=RedactProcessor(REDACTOR)), request([alone]))
                assert secret.encode() not in made.SerializeToString()


class TestOwnPatterns:
    def test_group_limits_the_mask(self) -> None:
        """Of an own pattern with a group only the group is masked."""
        own = Redactor(
            [Rule("order", "", r"order ([0-9]{4})", "[order]", is_word=False, is_own=True)]
        )
        assert own.text(b"order 1234 of 5678", Counter()) == b"order [order] of 5678"

    def test_anchors_see_the_text_and_not_its_framing(self) -> None:
        """A pattern that asks for the text's ends is not fooled by the bytes around it."""
        own = Redactor([Rule("whole", "", r"^AB$", "[whole]", is_word=False, is_own=True)])
        made = processed_span(Pipeline(redact=RedactProcessor(own)), span({"a": "AB", "b": "ABC"}))
        assert values(made) == {"a": "[whole]", "b": "ABC"}


_PIECES = st.sampled_from(
    [*(text for found in FOUND.values() for text in found), *LEFT_ALONE, "@", "\\", "\\n", '"',
     "[", "{", " ", ".", "-", "4", "1", "+", "é", "[email]", "sk-", "://u:", "00", "\n"]
)  # fmt: skip
_TEXTS = st.one_of(
    st.text(max_size=12),
    st.lists(_PIECES, max_size=5).map("".join),
    st.lists(_PIECES, max_size=3).map(json.dumps),
)
_SPANS = spans(st.text(max_size=10), _TEXTS, st.sampled_from(["exception", "e"]))


@settings(deadline=None)
@given(st.lists(_SPANS, max_size=4))
def test_equals_opening_everything(found: list[Span]) -> None:
    """Processing means the same as decoding all, masking every text, and encoding again."""

    def meaning(one: Span) -> Span:
        copy = Span.FromString(one.SerializeToString())
        texts.change_span(copy, partial(REDACTOR.text, counts=Counter()))
        return copy

    full = request(found)
    made, _ = processed(Pipeline(redact=RedactProcessor(REDACTOR)), full)
    assert made == read_slowly(full, meaning)


@settings(deadline=None)
@given(_TEXTS)
def test_idempotent(text: str) -> None:
    """What was masked once is not masked again."""
    once = REDACTOR.text(text.encode(), Counter())
    counts: Counter[str] = Counter()
    assert REDACTOR.text(once, counts) == once
    assert not counts


@settings(deadline=None)
@given(_SPANS, st.sampled_from([text for found in FOUND.values() for text in found]))
def test_nothing_survives(one: Span, secret: str) -> None:
    """Wherever a secret stands as a text of its own, it is gone afterwards."""
    one.attributes.extend(
        pairs({"a": secret, "b": [json.dumps({"c": secret})], "d": {"e": secret}})
    )
    made = processed_span(Pipeline(redact=RedactProcessor(REDACTOR)), one)
    last = made.attributes[-3:]
    probe = Span(attributes=last)
    assert secret not in texts_of(probe)
    assert json.dumps(secret)[1:-1] not in str(values(probe))


def test_numbers_without_a_gap_are_all_masked() -> None:
    """The end of one that is masked is a boundary for the next, however many follow."""
    counts: Counter[str] = Counter()
    assert REDACTOR.text(b"+49 170 1234567" * 50, counts) == b"[phone]" * 50
    assert counts == {"phone": 50}
