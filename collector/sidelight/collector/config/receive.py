"""What comes in: the OTLP receivers, who may send, and the expositions that are scraped."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from sidelight.collector.config.presets import PRESETS, PresetName, address
from sidelight.collector.config.section import MIB, Host, HttpUrl, Port, Secret, Section

TENANT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
ANY_TENANT = "*"
Tenant = Annotated[
    str,
    Field(
        pattern=rf"^({TENANT_PATTERN}|\*)$",
        description="Whose data this is; `*`: whose the sender says, for other collectors.",
    ),
]


class Tls(Section):
    """TLS of a listener; the files are PEM and looked at again for each new connection."""

    certificate: Path = Field(description="The server's certificate and those that vouch for it.")
    key: Path = Field(description="The certificate's private key.")
    client_ca: Path | None = Field(
        None, description="Who shows no certificate from one of these authorities is refused."
    )
    handshake_timeout_seconds: float = Field(10.0, gt=0, le=300, description="Longest handshake.")


class Tokens(Secret):
    """Bearer tokens, one a line, each after its tenant and a colon or alone."""

    tenant: Tenant | None = Field(None, description="For the tokens that name none.")


PublicKey = Annotated[
    Annotated[str, Tag("value")] | Annotated[Secret, Tag("secret")],
    Discriminator(lambda value: "value" if isinstance(value, str) else "secret"),
]


class LangfuseKey(Section):
    """A key pair as the Langfuse SDKs send it."""

    public_key: PublicKey = Field(description="The public key itself, or where it is.")
    secret_key: Secret = Field(description="Where the secret key is.")
    tenant: Tenant | None = Field(None, description="Whose data comes with it.")


class LangfuseApi(Section):
    """Langfuse's own API, as far as its SDKs need it to send traces."""

    keys: tuple[LangfuseKey, ...] = Field((), description="Key pairs that may send.")


class OtlpHttp(Section):
    """The OTLP/HTTP receiver."""

    enabled: bool = Field(True, description="Whether it listens.")
    host: Host = "127.0.0.1"
    port: Port = 4318
    tls: Tls | None = Field(None, description="none: plain text.")
    max_body_bytes: int = Field(32 * MIB, ge=1024, description="Largest body, as sent.")
    max_decompressed_bytes: int = Field(
        64 * MIB, ge=1024, description="Largest body after decompression: bombs are refused."
    )
    max_buffered_bytes: int = Field(
        128 * MIB,
        ge=1024,
        description="Bodies of all requests under way together: above it senders get 503.",
    )
    max_connections: int = Field(
        1024, ge=1, description="Connections at the same time; above it the answer is 503."
    )
    header_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest time from a request's first byte to its last header."
    )
    body_timeout_seconds: float = Field(
        30.0, gt=0, description="Longest time of a body, and of a client to read its answer."
    )
    idle_timeout_seconds: float = Field(
        120.0, gt=0, description="A connection without a request is closed after it."
    )


class OtlpGrpc(Section):
    """The OTLP/gRPC receiver."""

    enabled: bool = Field(True, description="Whether it listens.")
    host: Host = "127.0.0.1"
    port: Port = 4317
    tls: Tls | None = Field(None, description="none: plain text.")
    max_message_bytes: int = Field(32 * MIB, ge=1024, description="Largest message, decompressed.")


class ScrapeTarget(Section):
    """One exposition to scrape and serve again on /metrics."""

    url: HttpUrl = Field(description="Where the exposition is.")
    preset: PresetName | None = Field(
        None,
        description="The kind of server: its port and /metrics where the url names none, its name "
        "as job, and the families that are worth keeping.",
    )
    job: str = Field(
        "vllm", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="The label `job` of its samples."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="More labels of its samples.")
    families: tuple[str, ...] = Field(
        (), description="Families to keep, * and ? match; none: the preset's, or all."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_by_preset(cls, value: Any) -> Any:
        name = value.get("preset") if isinstance(value, dict) else None
        if name == "chroma":
            raise ValueError(
                "Chroma serves no /metrics: let it send OTLP to receive.otlp_grpc, "
                "as docs/scraping.md shows"
            )
        if not isinstance(name, str) or name not in PRESETS:
            return value
        preset = PRESETS[name]
        filled = {"job": name, "families": preset.families, **value}
        if isinstance(value.get("url"), str):
            filled["url"] = address(preset, value["url"])
        return filled


class Scrape(Section):
    """Which expositions to scrape, and how often."""

    targets: tuple[ScrapeTarget, ...] = Field((), description="What is scraped.")
    interval_seconds: float = Field(15.0, ge=1.0, description="From one scrape to the next.")
    timeout_seconds: float = Field(5.0, gt=0, description="Longest scrape.")
    max_bytes: int = Field(32 * MIB, ge=1024, description="Largest exposition that is read.")


class Receive(Section):
    """What comes in."""

    otlp_http: OtlpHttp = OtlpHttp()
    otlp_grpc: OtlpGrpc = OtlpGrpc()
    tokens: tuple[Tokens, ...] = Field((), description="Who may send; none: everybody.")
    langfuse: LangfuseApi = LangfuseApi()
    scrape: Scrape = Scrape()


class Serve(Section):
    """Where /metrics, /healthz and /readyz are served."""

    host: Host = "127.0.0.1"
    port: Port = 9464
    tls: Tls | None = Field(None, description="none: plain text.")
    tokens: tuple[Tokens, ...] = Field((), description="For /metrics alone.")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
