"""A small RAG app, observed: passages in Milvus Lite, an answer from a server with OpenAI's API.

    pip install 'sidelight[exporter]' pymilvus milvus-lite httpx
    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1  # of a vLLM with Sidelight installed, for one
    export OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=dev  # the same as vLLM's
    python app.py "Why was my request preempted?"

The trace goes to OTEL_EXPORTER_OTLP_ENDPOINT, by default `sidelight up` on this machine.
"""

from __future__ import annotations

import json
import os
import sys
import zlib

import httpx
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pymilvus import MilvusClient

from sidelight import conventions as names
from sidelight.instrumentation.vectordb import milvus, query_text

DIMENSION = 256
PASSAGES = (
    "A request is preempted when the KV cache has no free block for its next token.",
    "Prefill works on the whole prompt at once; decode writes one token a step.",
    "The prefix cache keeps blocks of earlier prompts that begin with the same tokens.",
    "A long queue with a half-empty KV cache means that max_num_seqs is too low.",
)

tracer = trace.get_tracer("rag-app")


def embed(text: str) -> list[float]:
    """A bag of hashed words: enough for four passages, and no model to download."""
    vector = [0.0] * DIMENSION
    for word in text.lower().split():
        vector[zlib.crc32(word.strip("?.,;").encode()) % DIMENSION] += 1.0
    return vector


def index(store: MilvusClient) -> None:
    """Create the collection and fill it."""
    store.drop_collection("passages")
    store.create_collection("passages", dimension=DIMENSION, metric_type="COSINE")
    rows = [{"id": i, "vector": embed(text), "text": text} for i, text in enumerate(PASSAGES)]
    store.insert("passages", rows)


def retrieve(store: MilvusClient, question: str) -> list[str]:
    """The two passages that fit best. Sidelight observes the search."""
    # The database sees a vector only: this says which text it is for.
    with query_text(question):
        (hits,) = store.search("passages", [embed(question)], limit=2, output_fields=["text"])
    return [hit["entity"]["text"] for hit in hits]


def generate(http: httpx.Client, question: str, passages: list[str]) -> str:
    """Ask the model. The trace context in the headers is what joins vLLM's spans to this one."""
    messages = [
        {"role": "system", "content": "Answer from these passages:\n" + "\n".join(passages)},
        {"role": "user", "content": question},
    ]
    model = os.environ.get("MODEL") or http.get("/models").json()["data"][0]["id"]
    with tracer.start_as_current_span(f"chat {model}", kind=trace.SpanKind.CLIENT) as span:
        span.set_attributes(
            {
                names.SPAN_KIND: "LLM",
                names.OPERATION: "chat",
                names.PROVIDER: "vllm",
                names.REQUEST_MODEL: model,
                names.INPUT_VALUE: json.dumps(messages),
            }
        )
        headers: dict[str, str] = {}
        propagate.inject(headers)
        body = {"model": model, "messages": messages, "max_tokens": 128}
        answer = http.post("/chat/completions", json=body, headers=headers, timeout=60)
        answer.raise_for_status()
        content: str = answer.json()["choices"][0]["message"]["content"]
        usage = answer.json()["usage"]
        span.set_attributes(
            {
                names.INPUT_TOKENS: usage["prompt_tokens"],
                names.OUTPUT_TOKENS: usage["completion_tokens"],
                names.OUTPUT_VALUE: content,
            }
        )
        return content


def main() -> None:
    """Set up tracing and answer the question on the command line."""
    question = sys.argv[1]
    provider = TracerProvider(resource=Resource.create({names.SERVICE_NAME: "rag-app"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    milvus.instrument()

    store = MilvusClient("passages.db")
    index(store)
    http = httpx.Client(base_url=os.environ["OPENAI_BASE_URL"])
    with http, tracer.start_as_current_span("answer question") as span:
        span.set_attributes({names.SPAN_KIND: "CHAIN", names.INPUT_VALUE: question})
        answer = generate(http, question, retrieve(store, question))
        span.set_attribute(names.OUTPUT_VALUE, answer)
    print(answer)
    provider.shutdown()


if __name__ == "__main__":
    main()
