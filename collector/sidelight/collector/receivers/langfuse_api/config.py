"""The configuration of the Langfuse API receiver."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from sidelight.base.auth.config import Tenant
from sidelight.base.configuration.section import Secret, Section
from sidelight.collector.receivers.common.config import ReceiverConfig

# A public key is not a secret, so it may be in the file. The tags keep pydantic's faults for a
# text and for a mapping apart.
PublicKey = Annotated[
    Annotated[str, Tag("value")] | Annotated[Secret, Tag("secret")],
    Discriminator(lambda value: "value" if isinstance(value, str) else "secret"),
]


class LangfuseKey(Section):
    """A key pair of a Langfuse SDK."""

    public_key: PublicKey = Field(description="The public key itself, or its variable or file.")
    secret_key: Secret = Field(description="Variable or file of the secret key.")
    tenant: Tenant | None = Field(None, description="Tenant of the data sent with the keys.")


class LangfuseApi(ReceiverConfig):
    """The part of Langfuse's API that its SDKs use to send traces, on the OTLP/HTTP port."""

    keys: tuple[LangfuseKey, ...] = Field((), description="Accepted key pairs.")
