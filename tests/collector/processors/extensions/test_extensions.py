"""The user's own callables: what they may do, and that they cannot do harm."""

from __future__ import annotations

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.processors.content.processor import ContentProcessor
from sidelight.collector.processors.extensions.config import Extension as Section
from sidelight.collector.processors.extensions.processor import MAX_FAULTS, LoadedExtension, load
from sidelight.collector.processors.pipeline import Pipeline
from support.processing import processed, processed_span, request, span, values


def extension(name: str, *scopes: str) -> LoadedExtension:
    """An extension of the ones in support."""
    return load(Section(call=f"support.own_extensions:{name}", scopes=scopes))


def names(pipeline: Pipeline, *given: str) -> list[str]:
    """Names of spans after processing."""
    made, _ = processed(pipeline, request([span(name=name) for name in given]))
    return [each.name for each in made.resource_spans[0].scope_spans[0].spans]


class TestExtensions:
    def test_changes_and_drops(self) -> None:
        """Extensions run in their order, and None takes a span out, counted."""
        pipeline = Pipeline(extensions=[extension("drop_pings"), extension("shout")])
        made, done = processed(pipeline, request([span(name="ping"), span(name="chat")]))
        assert [each.name for each in made.resource_spans[0].scope_spans[0].spans] == ["CHAT"]
        assert done.dropped == {"support.own_extensions:drop_pings": 1}
        assert done.changed

    def test_scopes(self) -> None:
        """An extension with scopes sees only their spans."""
        pipeline = Pipeline(extensions=[extension("shout", "my.")])
        assert processed_span(pipeline, span(name="a"), scope="my.app").name == "A"
        assert processed_span(pipeline, span(name="a"), scope="your.app").name == "a"

    def test_what_they_add_is_held_to_the_policy(self) -> None:
        """The content policy comes last, so an extension cannot bring content back."""

        def tell(one: Span) -> Span:
            one.attributes.add(key=c.INPUT_VALUE).value.string_value = "secret"
            return one

        content = ContentProcessor("off", {}, max_characters=1, hash_key=b"k")
        pipeline = Pipeline(extensions=[LoadedExtension("tell", tell)], content=content)
        assert values(processed_span(pipeline, span())) == {}


class TestFaults:
    @pytest.mark.parametrize("name", ["fail_on_bad", "lose_the_id", "forget"])
    def test_the_span_passes_unchanged(self, name: str) -> None:
        """A span that an extension fails on goes on as it was, and the fault is counted."""
        pipeline = Pipeline(extensions=[extension(name)])
        one = span(name="bad")
        made, done = processed(pipeline, request([one]))
        assert made == request([one])
        assert done.extension_faults == {f"support.own_extensions:{name}": 1}

    def test_switched_off(self, caplog: pytest.LogCaptureFixture) -> None:
        """After repeated faults it is switched off, with one line that quotes nothing."""
        pipeline = Pipeline(extensions=[extension("fail_on_bad"), extension("shout")])
        assert names(pipeline, *["bad"] * (MAX_FAULTS + 3), "good") == [
            *["BAD"] * (MAX_FAULTS + 3),
            "GOOD",
        ]
        assert names(pipeline, "good") == ["GOOD"]
        assert len(_own(caplog)) == 1
        assert "support.own_extensions:fail_on_bad switched off" in caplog.text
        assert "secret" not in caplog.text

    def test_a_success_forgives(self, caplog: pytest.LogCaptureFixture) -> None:
        """Faults count in a row only."""
        pipeline = Pipeline(extensions=[extension("fail_on_bad")])
        names(pipeline, *["bad", "good"] * (MAX_FAULTS + 1))
        assert names(pipeline, "good") == ["changed"]
        assert not _own(caplog)


def _own(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What Sidelight logs; threads of earlier tests may log, too."""
    return [
        record.getMessage() for record in caplog.records if record.name.startswith("sidelight.")
    ]


class TestLoading:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            ("no_such_module:f", "no_such_module cannot be imported (ModuleNotFoundError"),
            ("support.own_extensions:none", "support.own_extensions has no function none"),
            ("support.own_extensions:NOTHING", "has no function NOTHING"),
        ],
    )
    def test_what_cannot_be_had(self, call: str, message: str) -> None:
        """What cannot be imported is said so when the collector starts."""
        with pytest.raises(ConfigError) as caught:
            load(Section(call=call))
        assert message in str(caught.value)
