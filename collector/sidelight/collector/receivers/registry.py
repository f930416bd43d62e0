"""Every type of receiver."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.auth.config import Tokens
from sidelight.base.configuration.section import Section
from sidelight.collector.receivers.langfuse_api.config import LangfuseApi
from sidelight.collector.receivers.otlp_grpc.config import OtlpGrpc
from sidelight.collector.receivers.otlp_http.config import OtlpHttp
from sidelight.collector.receivers.scrape.config import Scrape


class Receive(Section):
    """What comes in."""

    otlp_http: OtlpHttp = OtlpHttp()
    otlp_grpc: OtlpGrpc = OtlpGrpc()
    tokens: tuple[Tokens, ...] = Field((), description="Who may send; none: everybody.")
    langfuse: LangfuseApi = LangfuseApi()
    scrape: Scrape = Scrape()
