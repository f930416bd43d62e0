"""Requests that vLLM's app suppresses: the ways of OpenTelemetry and of OpenInference."""

from __future__ import annotations

from typing import Any

import pytest
from openinference.instrumentation import suppress_tracing
from opentelemetry.instrumentation.utils import suppress_instrumentation

from support.observed_vllm import Observed
from support.vllm_application import answering, call


@pytest.mark.parametrize("suppressed", [suppress_instrumentation, suppress_tracing])
async def test_suppressed_requests(observed: Observed, suppressed: Any) -> None:
    """An app around vLLM that wants no spans gets none, and its answer all the same."""
    with suppressed():
        client = await call(observed, answering)
    assert client.status == 200
    assert observed.spans() == []
