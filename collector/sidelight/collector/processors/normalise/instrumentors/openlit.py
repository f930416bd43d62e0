"""OpenLIT, seen at 1.45: its own names and the older conventions'."""

from __future__ import annotations

from types import MappingProxyType

from sidelight import conventions as c
from sidelight.collector.processors.normalise.instrumentors.older_conventions import (
    OLD_DATABASE,
    OLD_GENAI,
)
from sidelight.collector.processors.normalise.table import Table

OPENLIT = Table(
    name="OpenLIT",
    scopes=("openlit",),
    renamed=MappingProxyType(
        {
            **OLD_GENAI,
            **OLD_DATABASE,
            "gen_ai.server.time_to_first_token": c.TIME_TO_FIRST_TOKEN,
            "gen_ai.server.time_per_output_token": c.TIME_PER_OUTPUT_TOKEN,
            "gen_ai.content.prompt": c.INPUT_VALUE,
            "gen_ai.content.completion": c.OUTPUT_VALUE,
            "gen_ai.workflow.input": c.INPUT_VALUE,
            "gen_ai.workflow.output": c.OUTPUT_VALUE,
            "gen_ai.tool.input": c.TOOL_ARGUMENTS,
            "gen_ai.tool.args": c.TOOL_ARGUMENTS,
            "gen_ai.tool.output": c.TOOL_RESULT,
            "gen_ai.vectordb.search.query": c.RETRIEVAL_QUERY,
            "db.vector.query.top_k": c.RETRIEVAL_TOP_K,
            "db.n_results": c.RETRIEVAL_TOP_K,
            "db.limit": c.RETRIEVAL_TOP_K,
            "db.filter": c.DB_FILTER,
            "db.vector.query.filter": c.DB_FILTER,
            "db.vector.count": c.DB_BATCH_SIZE,
            "db.search.similarity_metric": c.VECTOR_METRIC_TYPE,
            "db.query.namespace": c.DB_NAMESPACE,
        }
    ),
)
