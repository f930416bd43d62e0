"""The variables of the boards: `view.GRAFANA` filters by those that hold labels."""

from __future__ import annotations

from typing import Final

from sidelight.dashboards.boards.board import (
    LabelVariable,
    OptionsVariable,
    TextVariable,
    VariableOption,
)
from sidelight.dashboards.catalog import milvus, qdrant, vllm
from sidelight.dashboards.catalog import sidelight as own
from sidelight.dashboards.catalog.metric import RESULT_LABELS, Dimension
from sidelight.dashboards.promql import VectorSelector
from sidelight.dashboards.queries.series import any_name
from sidelight.dashboards.view import GRAFANA

# An objective must be the bound of a bucket. The two histograms of the duration have
# different bounds: Sidelight's double (OpenTelemetry's choice), vLLM's are round, so an
# option has the bound in each.
_TTFT_DEFAULT: Final = VariableOption("1 s", "1")
_TTFT_OPTIONS: Final = (
    VariableOption("100 ms", "0.1"),
    VariableOption("250 ms", "0.25"),
    VariableOption("500 ms", "0.5"),
    _TTFT_DEFAULT,
    VariableOption("2.5 s", "2.5"),
    VariableOption("5 s", "5"),
    VariableOption("10 s", "10"),
)
_DURATION_DEFAULT: Final = VariableOption("10 s", "10.24|10")
_DURATION_OPTIONS: Final = (
    VariableOption("1 s", "1.28|1"),
    VariableOption("2.5 s", "2.56|2.5"),
    VariableOption("5 s", "5.12|5"),
    _DURATION_DEFAULT,
    VariableOption("20 s", "20.48|20"),
    VariableOption("40 s", "40.96|40"),
)


def _of_engines(
    name: Dimension, title: str, description: str, all_value: str, *narrowed_by: Dimension
) -> LabelVariable:
    """The values that a dimension has among the engines that other variables select."""
    return LabelVariable(
        name,
        title,
        description,
        any_name(GRAFANA.only(*narrowed_by), vllm.RUNNING),
        RESULT_LABELS[name],
        all_value,
        # All jobs at once would count an engine twice that is scraped twice.
        offers_all=name != "job",
    )


JOB: Final = _of_engines(
    "job",
    "Job",
    "Prometheus job of the vLLM servers. If vLLM is scraped both directly and through "
    "Sidelight's collector, select one of the two: together they count each engine twice.",
    ".+",
)
# Everything matches without the label, as outside of Kubernetes.
NAMESPACE: Final = _of_engines(
    "namespace", "Namespace", "Kubernetes namespace of the vLLM servers.", ".*", "job"
)
MODEL: Final = _of_engines(
    "model",
    "Model",
    "Served model. vLLM's own metrics count LoRA adapters as their base model.",
    ".*",
    "job",
    "namespace",
)
INSTANCE: Final = _of_engines(
    "instance", "Instance", "vLLM server.", ".+", "job", "namespace", "model"
)
ENGINE: Final = _of_engines(
    "engine", "Engine", "Data-parallel rank.", ".*", "job", "namespace", "model", "instance"
)
# Where no engine is scraped the spans name the models.
MODEL_OF_SPANS: Final = LabelVariable(
    "model",
    "Model",
    "Model that was asked for.",
    any_name(GRAFANA.only(), own.TOKENS, "total"),
    own.MODEL,
    all_value=".*",
)
COLLECTOR: Final = LabelVariable(
    "collector",
    "Collector",
    "Sidelight collector.",
    any_name(GRAFANA.only(), own.RECEIVED, "total"),
    "instance",
    all_value=".*",
)
DATABASE: Final = LabelVariable(
    "database",
    "Vector database",
    "Kind of vector database, for example milvus.",
    any_name(GRAFANA.only(), own.DB_DURATION, "count"),
    own.DB_SYSTEM,
    all_value=".*",
)
COLLECTION: Final = LabelVariable(
    "collection",
    "Collection",
    "Collection of a vector database.",
    any_name(GRAFANA.only("database"), own.DB_DURATION, "count"),
    own.DB_COLLECTION,
    all_value=".*",
)
DATABASE_SERVER: Final = LabelVariable(
    "database_server",
    "Database server",
    "Milvus or Qdrant server, by the address of its metrics.",
    VectorSelector((milvus.NODES.shown_name, qdrant.COLLECTIONS.shown_name)),
    "instance",
    all_value=".*",
)
TTFT_OBJECTIVE: Final = OptionsVariable(
    "ttft_objective",
    "TTFT objective",
    "A request misses the objective if its first token takes longer.",
    _TTFT_OPTIONS,
    _TTFT_DEFAULT,
)
DURATION_OBJECTIVE: Final = OptionsVariable(
    "duration_objective",
    "Duration objective",
    "A request misses the objective if its response takes longer to complete.",
    _DURATION_OPTIONS,
    _DURATION_DEFAULT,
)
TRACES: Final = TextVariable(
    "traces",
    "Trace UI",
    "Address of the trace UI, for example Phoenix or Langfuse.",
    "http://localhost:6006",
)
