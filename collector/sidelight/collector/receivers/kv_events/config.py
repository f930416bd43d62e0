"""The configuration of the KV events receiver."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from sidelight.base.configuration.section import MIB, Section
from sidelight.base.listening import is_loopback
from sidelight.collector.receivers.common.config import ReceiverConfig

MAX_RANKS: Final = 64
_LAST_PORT: Final = 65535


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be tcp://HOST:PORT or ipc://PATH") from None
    is_tcp = parts.scheme == "tcp" and parts.hostname and port and not parts.path
    is_ipc = parts.scheme == "ipc" and text.removeprefix("ipc://")
    if not (is_tcp or is_ipc) or "*" in text:
        raise ValueError("must be tcp://HOST:PORT or ipc://PATH")
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]


def of_rank(endpoint: str, rank: int) -> str:
    """The endpoint of a data-parallel rank: as vLLM does, the port counts up from rank 0."""
    if not endpoint.startswith("tcp://"):
        return endpoint
    host, _, port = endpoint.rpartition(":")
    return f"{host}:{int(port) + rank}"


class KvEventsSource(Section):
    """One vLLM server that publishes KV events."""

    listen: Endpoint | None = Field(
        None,
        description="Endpoint to listen on. vLLM connects to it if the `endpoint` of its "
        "`--kv-events-config` is the same address.",
    )
    connect: Endpoint | None = Field(
        None,
        description="Endpoint to connect to. vLLM listens if the `endpoint` of its "
        "`--kv-events-config` has a `*` or begins with `ipc://`.",
    )
    replay: Endpoint | None = Field(
        None,
        description="`replay_endpoint` of `--kv-events-config`, to ask for lost messages. none: "
        "they stay lost.",
    )
    topic: str = Field("", description="`topic` of `--kv-events-config`.")
    ranks: int = Field(
        1,
        ge=1,
        le=MAX_RANKS,
        description="Data-parallel ranks. Each has a port of its own, counted up from that of the "
        "endpoint.",
    )
    blocks: int | None = Field(
        None,
        ge=1,
        description="Size of the KV cache of a rank, `num_gpu_blocks` of vLLM's metric "
        "`cache_config_info`. none: observed in the events, a few blocks too low.",
    )
    job: str = Field(
        "vllm", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Label `job` of the metrics."
    )
    instance: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Label `instance` of the metrics: that of vLLM's own metrics, host and port. "
        "none: the endpoint.",
    )
    allow_remote: bool = Field(
        False,
        description="Allow endpoints that are not on this machine. KV events contain the prompts "
        "as token ids, and ZeroMQ sends them without encryption.",
    )

    @property
    def endpoint(self) -> str:
        """The endpoint of rank 0."""
        return self.listen or self.connect or ""

    @property
    def shown_instance(self) -> str:
        """The label `instance`."""
        return self.instance or self.endpoint.partition("://")[2]

    def ports(self) -> list[int]:
        """The TCP ports of all ranks, those of the replay included."""
        return [
            int(of_rank(endpoint, rank).rpartition(":")[2])
            for endpoint in (self.endpoint, self.replay)
            if endpoint is not None and endpoint.startswith("tcp://")
            for rank in range(self.ranks)
        ]

    @model_validator(mode="after")
    def _check(self) -> KvEventsSource:
        if (self.listen is None) == (self.connect is None):
            raise ValueError("set either listen or connect")
        for key, endpoint in (
            ("listen", self.listen), ("connect", self.connect), ("replay", self.replay)
        ):  # fmt: skip
            if endpoint is None:
                continue
            if endpoint.startswith("ipc://"):
                if self.ranks > 1:
                    raise ValueError(f"{key}: with several ranks it must be tcp://HOST:PORT")
            elif not self.allow_remote and not is_loopback(urlsplit(endpoint).hostname or ""):
                raise ValueError(
                    f"{key} is not on this machine, and KV events contain the prompts as token "
                    "ids, unencrypted: use 127.0.0.1, or set allow_remote: true"
                )
        ports = self.ports()
        if max(ports, default=0) > _LAST_PORT:
            raise ValueError(f"the port of the last rank is above {_LAST_PORT}: choose a lower one")
        if len(set(ports)) < len(ports):
            raise ValueError(
                "the ports of replay overlap with those of the events: leave room for all ranks"
            )
        return self


class KvEvents(ReceiverConfig):
    """Reads the KV events of vLLM servers. They become metrics and are not stored."""

    sources: tuple[KvEventsSource, ...] = Field((), description="vLLM servers.")
    max_message_bytes: int = Field(
        MIB, ge=1024, le=64 * MIB, description="Largest message. A larger one counts as malformed."
    )
    max_tracked_blocks: int = Field(
        32_768,
        ge=256,
        le=4_194_304,
        description="Blocks that are followed for each rank, in the cache or evicted; about 200 "
        "bytes each. For larger caches these are a sample.",
    )
    replay_timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="Longest wait for each replayed message."
    )

    @model_validator(mode="after")
    def _distinct(self) -> KvEvents:
        names = [(source.job, source.shown_instance) for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("sources: two have the same job and instance; set instance")
        listening = list(
            chain.from_iterable(
                [of_rank(source.listen, rank) for rank in range(source.ranks)]
                for source in self.sources
                if source.listen is not None
            )
        )
        if len(set(listening)) < len(listening):
            raise ValueError("sources: two listen on the same port; each rank needs its own")
        return self
