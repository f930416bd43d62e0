"""What senders choose cannot fill the collector's memory by way of its caches."""

from __future__ import annotations

import gc
import weakref

import pytest

from sidelight.collector.processors import pipeline
from sidelight.otlp.remember import MAX_BYTES, remembered


class _Answer:
    """An object whose life can be watched."""


def test_a_short_argument_is_answered_from_memory() -> None:
    """The same resource comes with every request: it is read once."""
    asked: list[bytes] = []

    @remembered(maxsize=2)
    def length(data: bytes) -> int:
        asked.append(data)
        return len(data)

    assert [length(b"ab"), length(b"ab"), length(b"abc")] == [2, 2, 3]
    assert asked == [b"ab", b"abc"]


@pytest.mark.parametrize(
    "arguments", [("x" * (MAX_BYTES + 1),), ("x" * MAX_BYTES, "y"), (("x" * MAX_BYTES, "y"),)]
)
def test_long_arguments_are_not_kept(arguments: tuple[object, ...]) -> None:
    """Neither the argument nor the answer outlives the call."""

    @remembered(maxsize=10)
    def answer(*_: object) -> _Answer:
        return _Answer()

    kept = weakref.ref(answer(*arguments))
    gc.collect()
    assert kept() is None


def test_a_large_resource_is_read_right_and_forgotten() -> None:
    """service.name is found in a resource of any size."""
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    resource = Resource()
    for key, text in (("service.name", "rag"), ("noise", "x" * 100_000)):
        pair = resource.attributes.add()
        pair.key, pair.value.string_value = key, text
    assert pipeline.service_name(resource.SerializeToString()) == "rag"
