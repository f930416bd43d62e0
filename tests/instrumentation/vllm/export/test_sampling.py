"""Which traces are recorded, compared with OpenTelemetry's own samplers."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from sidelight.instrumentation.vllm.export.sampling import HeadSampler, make_sampler
from sidelight.instrumentation.vllm.trace_context import RemoteParent
from support.logged import messages_of

SAMPLED, UNSAMPLED = (RemoteParent(1, 2, sampled, "") for sampled in (True, False))


@pytest.mark.parametrize(
    ("name", "root", "sampled", "unsampled"),
    [
        ("", True, True, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
        ("always_on", True, True, True),
        (" ALWAYS_OFF ", False, False, False),
        ("traceidratio", False, False, False),
        ("parentbased_traceidratio", False, True, False),
    ],
)
def test_samplers(name: str, root: bool, sampled: bool, unsampled: bool) -> None:
    """`OTEL_TRACES_SAMPLER` means here what it means everywhere."""
    sampler = make_sampler({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": "0"})
    assert sampler.samples(1, None) is root
    assert sampler.samples(1, SAMPLED) is sampled
    assert sampler.samples(1, UNSAMPLED) is unsampled


@given(st.floats(0, 1), st.integers(1, 2**128 - 1))
def test_ratio_as_the_sdk_does(ratio: float, trace_id: int) -> None:
    """Every service of a trace must decide alike, by the trace id alone."""
    sdk = TraceIdRatioBased(ratio).should_sample(None, trace_id, "chat")
    environ = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(ratio)}
    decision = make_sampler(environ).samples(trace_id, None)
    assert decision is (sdk.decision is Decision.RECORD_AND_SAMPLE)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "half"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_wrong_values(variable: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line names the variable, and everything is recorded."""
    with caplog.at_level(logging.WARNING):
        sampler = make_sampler({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", variable: value})
    assert sampler == HeadSampler()
    (line,) = messages_of(caplog)
    assert f"{variable} is not " in line


def test_no_argument() -> None:
    """The specification's default is to record all."""
    assert make_sampler({"OTEL_TRACES_SAMPLER": "traceidratio"}) == HeadSampler(1.0, False)
