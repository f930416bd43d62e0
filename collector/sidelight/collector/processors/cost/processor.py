"""Sets what a request cost, by the price table, under the names that the backends read."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan, Made
from sidelight.collector.processors.common.open_span import number_of
from sidelight.collector.processors.cost.prices import Price, PriceTable
from sidelight.otlp.span import AttributeValue

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
    if c.LLM_COST_TOTAL in span or span.tell(_is_priced, c.USAGE_COST, c.LANGFUSE_COST):
        return
    models = tuple(
        dict.fromkeys(
            text for name in (c.RESPONSE_MODEL, c.REQUEST_MODEL) if (text := span.text(name))
        )
    )
    price = prices.price(models, span.text(c.PROVIDER), service) if models else None
    if price is None:
        return
    cost = Made(*_cost_of(price))
    span.derive(c.GPU_TIME, _gpu_seconds, cost)
    span.derive(c.LLM_COST_PROMPT, _asked, cost)
    span.derive(c.LLM_COST_COMPLETION, _answered, cost)
    span.derive(c.LLM_COST_TOTAL, _total, cost)
    span.derive(c.USAGE_COST, _total, cost)
    span.derive(c.LANGFUSE_COST, _langfuse_cost, cost)


def _is_priced(cost: AttributeValue, langfuse_cost: AttributeValue) -> bool:
    said = langfuse_cost if isinstance(langfuse_cost, str) else ""
    return bool(number_of(cost)) or said not in _UNPRICED


class _Cost(NamedTuple):
    """What a span cost; the parts are both known or neither is."""

    total: float
    asked: float | None
    answered: float | None
    gpu_seconds: float | None = None


@lru_cache(maxsize=1024)
def _cost_of(price: Price) -> tuple[Callable[..., _Cost | None], tuple[str, ...]]:
    """The function for a price, the same each time, and what it is called with."""
    if price.gpu_second is not None:
        return partial(_by_gpu_seconds, price, price.gpu_second), _OF_GPU_SECONDS
    return partial(_by_tokens, price), _OF_TOKENS


_OF_TOKENS = (c.INPUT_TOKENS, c.OUTPUT_TOKENS, c.CACHED_TOKENS, c.CACHE_WRITE_TOKENS)


def _by_tokens(price: Price, *values: AttributeValue) -> _Cost | None:
    asked, answered, cached, written = map(number_of, values)
    if asked is None and answered is None:
        return None
    cached, written = cached or 0.0, written or 0.0
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
    return _rounded(asked_cost + answered_cost, asked_cost, answered_cost)


_OF_GPU_SECONDS = (
    c.PREFILL_TIME,
    c.DECODE_TIME,
    c.INFERENCE_TIME,
    c.BATCH_SIZE_MEAN,
    c.ENGINE_SEQUENCES,
)


def _by_gpu_seconds(price: Price, gpu_second: float, *values: AttributeValue) -> _Cost | None:
    prefill, decode, inference, batch, sequences = map(number_of, values)
    if prefill is None or decode is None:
        prefill, decode = None, None
    elif inference is None:
        inference = prefill + decode
    sharing = batch or price.assumed_batch_size
    if inference is None or sharing is None:
        return None
    # Each sequence of a request (n > 1) is a member of the batch.
    share = min(1.0, (sequences or 1.0) / max(1.0, sharing)) * price.gpus
    per_second = gpu_second * share
    cost = _rounded(
        inference * per_second,
        None if prefill is None else prefill * per_second,
        None if decode is None else decode * per_second,
    )
    return cost._replace(gpu_seconds=round(inference * share, _DIGITS))


def _rounded(total: float, asked: float | None, answered: float | None) -> _Cost:
    total = round(total, _DIGITS)
    if asked is None or answered is None:
        return _Cost(total, None, None)
    return _Cost(total, round(asked, _DIGITS), round(answered, _DIGITS))


def _total(cost: _Cost | None) -> float | None:
    return None if cost is None else cost.total


def _asked(cost: _Cost | None) -> float | None:
    return None if cost is None else cost.asked


def _answered(cost: _Cost | None) -> float | None:
    return None if cost is None else cost.answered


def _gpu_seconds(cost: _Cost | None) -> float | None:
    return None if cost is None else cost.gpu_seconds


def _langfuse_cost(cost: _Cost | None) -> str | None:
    if cost is None:
        return None
    if cost.asked is None:
        return json.dumps({"total": cost.total})
    return json.dumps({"input": cost.asked, "output": cost.answered, "total": cost.total})
