"""What processing costs: µs of CPU for a span, for what is passed on and for what is worked on.

Run it with `python tests/bench/processors.py`, on a machine with nothing else to do. It prints the
best of several rounds; a request has 256 spans of 1.6 kB, a quarter of them with 2.9 kB of text.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight.collector.processors.content.processor import ContentProcessor
from sidelight.collector.processors.pipeline import Pipeline
from sidelight.collector.processors.redact.processor import RedactProcessor
from sidelight.collector.processors.redact.redactor import Redactor
from sidelight.collector.processors.redact.rules import RULES
from sidelight.otlp.otlp_pb2 import Request

SPANS = 256
ROUNDS = 15
_WORDS = (
    "the", "retrieval", "model", "answer", "question", "context", "document", "vector", "search",
    "latency", "token", "cache", "engine", "batch", "prefill", "decode", "price", "quarter",
)  # fmt: skip
_SECRETS = (
    "write to bob@example.org today", "my card is 4111 1111 1111 1111", "call +49 170 1234567",
    "pay to DE89 3704 0044 0532 0130 00", "the key is sk-proj-abcdefghij1234567890",
)  # fmt: skip


def text(random_: random.Random, length: int) -> str:
    """Prose of about `length` characters."""
    return " ".join(random_.choice(_WORDS) for _ in range(length // 7))


def web_span(random_: random.Random, index: int) -> dict[str, str | int]:
    """Attributes of a span that has nothing to do with LLMs."""
    return {
        "http.request.method": "POST",
        "http.route": "/v1/orders/{id}",
        "url.path": f"/v1/orders/{index}",
        "server.address": "10.2.3.4",
        "server.port": 8000,
        "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        "http.response.status_code": 200,
        "thread.name": "MainThread",
        "code.function.name": "shop.orders.handle",
        "session.id": f"{random_.getrandbits(128):032x}",
        "customer.tier": "gold",
        "note": text(random_, 2900 if index % 4 == 0 else 400),
    }


def llm_span(random_: random.Random, index: int, *, secret: bool = False) -> dict[str, str | int]:
    """Attributes of an LLM span of an older instrumentation."""
    asked = text(random_, 2900 if index % 4 == 0 else 400)
    return {
        "gen_ai.system": "openai",
        "llm.request.type": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.request.max_tokens": 128,
        "gen_ai.usage.prompt_tokens": 812,
        "gen_ai.usage.completion_tokens": 128,
        "llm.usage.total_tokens": 940,
        "session.id": f"{random_.getrandbits(128):032x}",
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": asked + (" " + _SECRETS[index % 5] if secret else ""),
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": "an answer",
        "gen_ai.completion.0.finish_reason": "stop",
    }


def canonical_span(
    random_: random.Random, index: int, *, secret: bool = False
) -> dict[str, str | int]:
    """Attributes of an LLM span in canonical names."""
    asked = text(random_, 2900 if index % 4 == 0 else 400)
    return {
        "openinference.span.kind": "LLM",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "Qwen/Qwen3-8B",
        "gen_ai.response.model": "Qwen/Qwen3-8B",
        "gen_ai.usage.input_tokens": 812,
        "gen_ai.usage.output_tokens": 128,
        "session.id": f"{random_.getrandbits(128):032x}",
        "sidelight.request.id": f"chatcmpl-{random_.getrandbits(128):032x}",
        "input.value": asked + (" " + _SECRETS[index % 5] if secret else ""),
        "output.value": "an answer",
    }


def body(spans: Iterable[dict[str, str | int]], scope: str) -> bytes:
    """A serialised request."""
    full = ExportTraceServiceRequest()
    held = full.resource_spans.add().scope_spans.add()
    held.scope.name = scope
    random_ = random.Random(7)
    for attributes in spans:
        span = Span(
            trace_id=random_.randbytes(16),
            span_id=random_.randbytes(8),
            parent_span_id=random_.randbytes(8),
            name="chat",
            start_time_unix_nano=1_795_419_195_541_125_423,
            end_time_unix_nano=1_795_419_195_941_125_423,
        )
        for key, value in attributes.items():
            pair = KeyValue(key=key)
            if isinstance(value, str):
                pair.value.string_value = value
            else:
                pair.value.int_value = value
            span.attributes.append(pair)
        held.spans.append(span)
    return full.SerializeToString()


def measure(pipeline: Pipeline, data: bytes) -> float:
    """µs a span of processing alone, without slicing and writing the request; the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        requests = [Request.FromString(data) for _ in range(4)]
        start = time.thread_time()
        for request in requests:
            pipeline.traces(request)
        best = min(best, (time.thread_time() - start) / len(requests))
    return best * 1e6 / SPANS


def main() -> None:
    """Print the table."""
    make = random.Random(1)

    def spans(of: Callable[..., dict[str, str | int]], **how: bool) -> list[dict[str, str | int]]:
        return [of(make, index, **how) for index in range(SPANS)]

    web = body(spans(web_span), "opentelemetry.instrumentation.asgi")
    own = body(spans(canonical_span), "sidelight.instrumentation.vectordb")
    found = body(spans(canonical_span, secret=True), "sidelight.instrumentation.vectordb")
    older = body(spans(llm_span), "opentelemetry.instrumentation.openai.v1")
    plain, redacting = Pipeline(), Pipeline(redact=RedactProcessor(Redactor(RULES)))
    policies = {
        name: Pipeline(content=ContentProcessor(name, {}, max_characters=200, hash_key=b"k"))
        for name in ("off", "truncated", "hashed")
    }
    rows = [
        ("ids only: Sidelight's own spans pass unopened", plain, own),
        ("other spans pass unopened", plain, web),
        ("OpenLLMetry's older spans made canonical", plain, older),
        ("redaction, nothing found, own spans", redacting, own),
        ("redaction, nothing found, other spans", redacting, web),
        ("redaction, found in every span", redacting, found),
        *((f"content policy {name}", pipeline, own) for name, pipeline in policies.items()),
        ("content policy off, nothing to hide", policies["off"], web),
    ]
    print(f"{SPANS} spans a request, {len(own) / SPANS:.0f} bytes a span; µs of CPU a span")
    for name, pipeline, data in rows:
        print(f"{measure(pipeline, data):8.2f}  {name}")


if __name__ == "__main__":
    main()
