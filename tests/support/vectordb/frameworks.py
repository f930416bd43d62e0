"""Retrieves from Qdrant through a framework that others observe, and prints all spans as JSON.

Started with the Python of the environment `frameworks`:
`python -m support.vectordb.frameworks INSTRUMENTOR`
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from sidelight import conventions as names
from sidelight.instrumentation.settings import Settings
from sidelight.instrumentation.vectordb import qdrant
from support.recording import Recording

TEXTS = ("about paris", "about rome")
_DIMENSION = 8


def main() -> None:
    """Retrieves in every way that the framework has, each below a span of its own name."""
    recording = Recording()
    trace.set_tracer_provider(recording.tracer_provider)
    qdrant.instrument(
        recording.tracer_provider, recording.meter_provider, Settings(capture_content="full")
    )
    instrumentor = sys.argv[1]
    framework = _llama_index if instrumentor == "openinference-llama-index" else _langchain
    ways = framework(instrumentor, recording.tracer_provider)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, retrieve in ways.items():
        known = len(recording.spans())
        assert retrieve() == len(TEXTS), name
        found[name] = [_described(span) for span in recording.spans()[known:]]
    sys.stdout.write(json.dumps(found))


def _langchain(instrumentor: str, provider: Any) -> dict[str, Any]:
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.runnables import RunnableLambda, RunnablePassthrough
    from langchain_qdrant import QdrantVectorStore

    client = QdrantClient(":memory:")
    client.create_collection(
        "docs", vectors_config=VectorParams(size=_DIMENSION, distance=Distance.COSINE)
    )
    store = QdrantVectorStore(
        client=client, collection_name="docs", embedding=DeterministicFakeEmbedding(size=_DIMENSION)
    )
    store.add_texts(list(TEXTS))
    config = _instrumented(instrumentor, provider)
    retriever = store.as_retriever(search_kwargs={"k": len(TEXTS)})
    steps = RunnableLambda(lambda asked: asked["question"]) | retriever
    chain = RunnablePassthrough.assign(found=steps) | RunnableLambda(lambda all_: all_["found"])
    direct = RunnableLambda(lambda text: store.similarity_search(text, k=len(TEXTS)))
    tracer = provider.get_tracer("app")

    def below_the_apps_span() -> int:
        with tracer.start_as_current_span("app"):
            return len(retriever.invoke("paris", config=config))

    asked = {"question": "paris"}
    return {
        "retriever": lambda: len(retriever.invoke("paris", config=config)),
        "below the app's span": below_the_apps_span,
        "chain": lambda: len(chain.invoke(asked, config=config)),
        "async chain": lambda: len(asyncio.run(chain.ainvoke(asked, config=config))),
        "async retriever": lambda: len(asyncio.run(retriever.ainvoke("paris", config=config))),
        "no retriever": lambda: len(direct.invoke("paris", config=config)),
    }


def _instrumented(instrumentor: str, provider: Any) -> dict[str, Any]:
    """LangChain observed; what calls need for it."""
    if instrumentor == "langfuse":
        from langfuse import Langfuse
        from langfuse.langchain import CallbackHandler

        # It exports nothing: the spans are recorded here.
        Langfuse(
            public_key="pk", secret_key="sk", base_url="http://127.0.0.1:9", flush_interval=3600,
            tracer_provider=provider, should_export_span=lambda _: False,
        )  # fmt: skip
        return {"callbacks": [CallbackHandler()]}
    if instrumentor == "openinference-langchain":
        from openinference.instrumentation.langchain import LangChainInstrumentor

        LangChainInstrumentor().instrument(tracer_provider=provider)
    else:
        from opentelemetry.instrumentation.langchain import LangchainInstrumentor

        LangchainInstrumentor().instrument(tracer_provider=provider)
    return {}


def _llama_index(_: str, provider: Any) -> dict[str, Any]:
    from llama_index.core import Document, StorageContext, VectorStoreIndex
    from llama_index.core import Settings as LlamaIndex
    from llama_index.core.embeddings import MockEmbedding
    from llama_index.core.llms import MockLLM
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    LlamaIndexInstrumentor().instrument(tracer_provider=provider)
    LlamaIndex.embed_model, LlamaIndex.llm = MockEmbedding(embed_dim=_DIMENSION), MockLLM()
    store = QdrantVectorStore("docs", client=QdrantClient(":memory:"))
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in TEXTS],
        storage_context=StorageContext.from_defaults(vector_store=store),
    )
    retriever = index.as_retriever(similarity_top_k=len(TEXTS))
    engine = index.as_query_engine(similarity_top_k=len(TEXTS))
    return {
        "retriever": lambda: len(retriever.retrieve("paris")),
        "chain": lambda: len(engine.query("paris").source_nodes),
    }


def _described(span: ReadableSpan) -> dict[str, Any]:
    attributes = span.attributes or {}
    context = span.get_span_context()
    scope = span.instrumentation_scope
    assert context is not None
    return {
        "scope": "" if scope is None else scope.name,
        "name": span.name,
        "trace": context.trace_id,
        "id": context.span_id,
        "parent": span.parent.span_id if span.parent else None,
        "kind": attributes.get(names.SPAN_KIND),
        "operation": attributes.get(names.OPERATION),
        "shows_documents": names.RETRIEVAL_DOCUMENTS in attributes,
    }


if __name__ == "__main__":
    main()
