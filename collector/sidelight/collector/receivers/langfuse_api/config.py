"""The configuration of the Langfuse API receiver."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from sidelight.base.auth.config import Tenant
from sidelight.base.configuration.section import Secret, Section
from sidelight.collector.receivers.common.config import ReceiverConfig

PublicKey = Annotated[
    Annotated[str, Tag("value")] | Annotated[Secret, Tag("secret")],
    Discriminator(lambda value: "value" if isinstance(value, str) else "secret"),
]


class LangfuseKey(Section):
    """A key pair as the Langfuse SDKs send it."""

    public_key: PublicKey = Field(description="The public key itself, or where it is.")
    secret_key: Secret = Field(description="Where the secret key is.")
    tenant: Tenant | None = Field(None, description="Whose data comes with it.")


class LangfuseApi(ReceiverConfig):
    """Langfuse's own API, as far as its SDKs need it to send traces; on the OTLP/HTTP port."""

    keys: tuple[LangfuseKey, ...] = Field((), description="Key pairs that may send.")
