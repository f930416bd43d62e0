"""What kind of work a span was: an LLM call, a retrieval, a tool, …"""

from __future__ import annotations

from sidelight import conventions as c
from sidelight.collector.processors.common.editable_span import EditableSpan, Fact
from sidelight.collector.processors.normalise.spellings import OTHER_SEARCHES, VECTOR_DATABASES
from sidelight.collector.processors.normalise.table import Table
from sidelight.instrumentation.vectordb.registry import OPERATION_KINDS
from sidelight.otlp.span import AttributeValue

_SPAN_NAME = Fact(lambda span: span.name, is_of_head=True)


def set_kind(table: Table, span: EditableSpan) -> None:
    """Set the span's kind and operation, as far as its names tell them."""
    _database(span)
    operation = span.text(c.OPERATION)
    kind = (
        span.text(c.SPAN_KIND)
        or c.KIND_OF_OPERATION.get(operation, "")
        or table.kinds.get(span.text(table.kind_attribute), "")
    )
    if not kind and (c.REQUEST_MODEL in span or c.RESPONSE_MODEL in span):
        kind = "LLM"
    span.set_missing(c.SPAN_KIND, kind)
    span.set_missing(c.OPERATION, c.OPERATION_OF_KIND.get(kind))
    span.copy(c.RESPONSE_MODEL, c.REQUEST_MODEL)
    span.copy(c.CONVERSATION_ID, c.SESSION_ID)


def _database(span: EditableSpan) -> None:
    system = span.text(c.DB_SYSTEM)
    if system not in VECTOR_DATABASES:
        return
    # OpenLLMetry's Qdrant spans tell what was done only in their name: qdrant.query_points.
    span.derive_missing(c.DB_OPERATION, _named_method, c.DB_SYSTEM, _SPAN_NAME)
    operation = span.text(c.DB_OPERATION)
    kind = OPERATION_KINDS.get(system, {}).get(operation)
    # The description decides on the names it has: Milvus's `query` reads by a filter, Chroma's
    # compares vectors.
    is_search = kind == "search" if kind is not None else operation in OTHER_SEARCHES
    if is_search or c.RETRIEVAL_TOP_K in span:
        span.set_missing(c.OPERATION, "retrieval")


def _named_method(system: AttributeValue, span_name: str) -> str | None:
    prefix, _, method = span_name.partition(".")
    return method if prefix.lower() == system else None
