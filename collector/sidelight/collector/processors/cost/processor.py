"""Sets what a request cost, by the price table, under the names that the backends read."""

from __future__ import annotations

import json

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan
from sidelight.collector.processors.cost.prices import Price, PriceTable

_MILLION = 1_000_000
# Costs are sums of tiny amounts: further digits are noise of the binary representation.
_DIGITS = 12

# What is said of a span so that Langfuse does not price its texts is no price.
_UNPRICED = ("", c.LANGFUSE_NO_COST)

HINTS = (b"gen_ai.usage.", b"sidelight.inference.time", b"sidelight.decode.time")
"""A serialised span that holds none of these has nothing to price."""


def add_cost(prices: PriceTable, service: str, span: EditableSpan) -> None:
    """Set the cost of a canonical span, unless its sender did.

    The price is by tokens if the span has gen_ai.usage.*, which only one span of a call has, or by
    GPU-seconds if it has the engine's times.
    """
    said = span.text(c.LANGFUSE_COST)
    if span.number(c.USAGE_COST) or c.LLM_COST_TOTAL in span or said not in _UNPRICED:
        return
    models = tuple(
        dict.fromkeys(
            text for name in (c.RESPONSE_MODEL, c.REQUEST_MODEL) if (text := span.text(name))
        )
    )
    price = prices.price(models, span.text(c.PROVIDER), service) if models else None
    if price is None:
        return
    if price.gpu_second is not None:
        _by_gpu_seconds(price, price.gpu_second, span)
    else:
        _by_tokens(price, span)


def _by_tokens(price: Price, span: EditableSpan) -> None:
    asked, answered = span.number(c.INPUT_TOKENS), span.number(c.OUTPUT_TOKENS)
    if asked is None and answered is None:
        return
    cached = span.number(c.CACHED_TOKENS) or 0.0
    written = span.number(c.CACHE_WRITE_TOKENS) or 0.0
    fresh = max(0.0, (asked or 0.0) - cached - written)
    full = price.input_per_million or 0.0
    cached_price = price.cached_input_per_million
    written_price = price.cache_write_per_million
    asked_cost = (
        fresh * full
        + cached * (full if cached_price is None else cached_price)
        + written * (full if written_price is None else written_price)
    ) / _MILLION
    answered_cost = (answered or 0.0) * (price.output_per_million or 0.0) / _MILLION
    _set(span, asked_cost + answered_cost, asked_cost, answered_cost)


def _by_gpu_seconds(price: Price, gpu_second: float, span: EditableSpan) -> None:
    prefill, decode = span.number(c.PREFILL_TIME), span.number(c.DECODE_TIME)
    inference = span.number(c.INFERENCE_TIME)
    if prefill is None or decode is None:
        prefill, decode = None, None
    elif inference is None:
        inference = prefill + decode
    sharing = span.number(c.BATCH_SIZE_MEAN) or price.assumed_batch_size
    if inference is None or sharing is None:
        return
    # Each sequence of a request (n > 1) is a member of the batch.
    share = min(1.0, (span.number(c.ENGINE_SEQUENCES) or 1.0) / max(1.0, sharing)) * price.gpus
    per_second = gpu_second * share
    span.set(c.GPU_TIME, round(inference * share, _DIGITS))
    _set(
        span,
        inference * per_second,
        None if prefill is None else prefill * per_second,
        None if decode is None else decode * per_second,
    )


def _set(span: EditableSpan, total: float, asked: float | None, answered: float | None) -> None:
    total = round(total, _DIGITS)
    details = {"total": total}
    if asked is not None and answered is not None:
        details = {"input": round(asked, _DIGITS), "output": round(answered, _DIGITS), **details}
        span.set(c.LLM_COST_PROMPT, details["input"])
        span.set(c.LLM_COST_COMPLETION, details["output"])
    span.set(c.LLM_COST_TOTAL, total)
    span.set(c.USAGE_COST, total)
    span.set(c.LANGFUSE_COST, json.dumps(details))
