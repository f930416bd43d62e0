"""Every attribute and metric name that Sidelight writes or reads, with unit and meaning.

Standard names come first: OpenTelemetry's conventions for GenAI and databases (state of
November 2026), and OpenInference for display. Names that no standard has begin with
`sidelight.`, `db.vector.` or the database's `db.….`; they are defined nowhere else, so that
they can be mapped once a standard exists.

A constant is a plain `str`. `ATTRIBUTES` and `METRICS` hold what each name means and which part
emits it; docs/names.md is generated from them. This file only passes on what the modules define.
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
from sidelight.conventions.injector_metrics import *
from sidelight.conventions.prometheus import prometheus_name as prometheus_name
from sidelight.conventions.span_kinds import *
from sidelight.conventions.vectordb_attributes import *
from sidelight.conventions.vllm_tracer import *
