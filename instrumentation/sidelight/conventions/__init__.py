"""Every attribute and metric name that Sidelight writes or reads, with unit and meaning.

Standard names come first: OpenTelemetry's GenAI and database conventions (state of
November 2026) and OpenInference for display. What no standard has lives under
`sidelight.*` and `db.vector.*` and is defined here and nowhere else, so that it can be
mapped once a standard exists. docs/names.md is generated from this package.

A constant is a plain `str`; its meaning is kept in `ATTRIBUTES` or `METRICS`.
"""

from sidelight.conventions.attributes import *
from sidelight.conventions.buckets import *
from sidelight.conventions.client_metrics import *
from sidelight.conventions.collector_metrics import *
from sidelight.conventions.definitions import ATTRIBUTES as ATTRIBUTES
from sidelight.conventions.definitions import METRICS as METRICS
from sidelight.conventions.definitions import Attribute as Attribute
from sidelight.conventions.definitions import Instrument as Instrument
from sidelight.conventions.definitions import Metric as Metric
from sidelight.conventions.engine_attributes import *
from sidelight.conventions.engine_metrics import *
from sidelight.conventions.prometheus import prometheus_name as prometheus_name
from sidelight.conventions.span_kinds import *
from sidelight.conventions.vectordb_attributes import *
from sidelight.conventions.vllm_tracer import *
