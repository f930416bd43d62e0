"""Searches inside LangChain and LlamaIndex, with the instrumentors that people have for these."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from typing import Any

import pytest

from sidelight import conventions as names
from support.environments import python_of
from support.vectordb.servers import environment_for_clients

pytestmark = pytest.mark.real("frameworks")

Spans = list[dict[str, Any]]

INSTRUMENTORS = {
    "openinference-langchain": "openinference.instrumentation.langchain",
    "langfuse": "langfuse-sdk",
    "openllmetry-langchain": "opentelemetry.instrumentation.langchain",
    "openinference-llama-index": "openinference.instrumentation.llama_index",
}
# LangChain runs a sync client of a bare `ainvoke` in a thread that knows nothing of the run.
UNKNOWN = {
    ("openinference-langchain", "async retriever"),
    ("langfuse", "async retriever"),
}


@cache
def retrieved(instrumentor: str) -> dict[str, Spans]:
    """The spans of each way of retrieving."""
    done = subprocess.run(
        [python_of("frameworks"), "-m", "support.vectordb.frameworks", instrumentor],
        env=environment_for_clients(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Spans] = json.loads(done.stdout.splitlines()[-1])
    return found


def ours(spans: Spans) -> dict[str, Any]:
    """Sidelight's span of the search."""
    (span,) = [span for span in spans if span["scope"] == names.SCOPE_VECTORDB]
    return span


def parent(spans: Spans) -> dict[str, Any]:
    """The span above it."""
    (span,) = [span for span in spans if span["id"] == ours(spans)["parent"]]
    return span


@pytest.mark.parametrize("instrumentor", INSTRUMENTORS)
def test_a_search_is_no_second_retrieval(instrumentor: str) -> None:
    """Ours is a CHAIN below the framework's retriever, in its trace, without its documents."""
    for way, spans in retrieved(instrumentor).items():
        if way == "no retriever" or (instrumentor, way) in UNKNOWN:
            continue
        span, above = ours(spans), parent(spans)
        assert above["scope"] == INSTRUMENTORS[instrumentor], way
        assert "etrieve" in above["name"], way
        assert span["trace"] == above["trace"], way
        assert (span["kind"], span["operation"]) == ("CHAIN", None), way
        assert not span["shows_documents"], way


@pytest.mark.parametrize("instrumentor", list(INSTRUMENTORS)[:3])
def test_a_search_without_a_retriever_is_the_retrieval(instrumentor: str) -> None:
    """A step of a chain that asks the store itself has nothing that shows its documents."""
    spans = retrieved(instrumentor)["no retriever"]
    span = ours(spans)
    assert span["kind"] == "RETRIEVER"
    assert span["shows_documents"]
    assert parent(spans)["scope"] == INSTRUMENTORS[instrumentor]


@pytest.mark.parametrize("instrumentor", ["openinference-langchain", "langfuse"])
def test_what_is_not_known_is_a_retrieval_of_its_own(instrumentor: str) -> None:
    """The documents are shown twice rather than not at all, as the page says."""
    span = ours(retrieved(instrumentor)["async retriever"])
    assert (span["kind"], span["parent"]) == ("RETRIEVER", None)
