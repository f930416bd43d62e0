"""All types of receivers: built-in ones, and those of other distributions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from sidelight.base.components import registry
from sidelight.base.configuration.section import Section
from sidelight.collector.receivers.common.config import ReceiverConfig
from sidelight.collector.receivers.common.type import ReceiverType
from sidelight.collector.receivers.kv_events.component import KV_EVENTS
from sidelight.collector.receivers.langfuse_api.component import LANGFUSE_API
from sidelight.collector.receivers.otlp_grpc.component import OTLP_GRPC
from sidelight.collector.receivers.otlp_http.component import OTLP_HTTP
from sidelight.collector.receivers.scrape.component import SCRAPE
from sidelight.collector.receivers.zipkin.component import ZIPKIN

ENTRY_POINTS = "sidelight.receivers"
"""The entry point group in which other distributions name their `ReceiverType`s."""

BUILT_IN = (OTLP_HTTP, OTLP_GRPC, LANGFUSE_API, ZIPKIN, SCRAPE, KV_EVENTS)

TYPES: dict[str, ReceiverType] = registry(BUILT_IN, ENTRY_POINTS, ReceiverType)

if TYPE_CHECKING:

    class Receivers(Section):
        """The section `receivers`. Its keys come from the registry, unknown to type checkers."""

        def __getattr__(self, name: str) -> Any: ...

else:
    Receivers = create_model(
        "Receivers",
        __base__=Section,
        __doc__="Receivers, by type.",
        **{
            receiver.name: (receiver.Config, Field(default_factory=receiver.Config))
            for receiver in TYPES.values()
        },
    )


def enabled(receivers: Receivers) -> Iterator[tuple[ReceiverType, ReceiverConfig]]:
    """The types of the enabled receivers, with their configurations."""
    for receiver_type in TYPES.values():
        config: ReceiverConfig = getattr(receivers, receiver_type.name)
        if config.enabled:
            yield receiver_type, config
