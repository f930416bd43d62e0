"""What comes in: the OTLP receivers, and the expositions that are scraped."""

from __future__ import annotations

from pydantic import Field

from sidelight.collector.config.section import MIB, HttpUrl, Port, Section


class OtlpHttp(Section):
    """The OTLP/HTTP receiver."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 4318
    max_body_bytes: int = Field(32 * MIB, ge=1024, description="Largest body, as sent.")
    max_decompressed_bytes: int = Field(
        64 * MIB, ge=1024, description="Largest body after decompression: bombs are refused."
    )
    max_buffered_bytes: int = Field(
        128 * MIB,
        ge=1024,
        description="Bodies of all requests under way together: above it senders get 503.",
    )
    max_connections: int = Field(1024, ge=1)
    header_timeout_seconds: float = Field(10.0, gt=0)
    body_timeout_seconds: float = Field(30.0, gt=0)
    idle_timeout_seconds: float = Field(120.0, gt=0)


class OtlpGrpc(Section):
    """The OTLP/gRPC receiver."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 4317
    max_message_bytes: int = Field(32 * MIB, ge=1024)


class ScrapeTarget(Section):
    """One exposition to scrape and serve again on /metrics."""

    url: HttpUrl
    job: str = Field("vllm", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    labels: dict[str, str] = Field(default_factory=dict)


class Scrape(Section):
    """Which expositions to scrape, and how often."""

    targets: tuple[ScrapeTarget, ...] = ()
    interval_seconds: float = Field(15.0, ge=1.0)
    timeout_seconds: float = Field(5.0, gt=0)
    max_bytes: int = Field(32 * MIB, ge=1024, description="Largest exposition that is read.")


class Receive(Section):
    """What comes in."""

    otlp_http: OtlpHttp = OtlpHttp()
    otlp_grpc: OtlpGrpc = OtlpGrpc()
    scrape: Scrape = Scrape()
