"""Who may send, in sidelight.yaml: bearer tokens and key pairs, and their tenants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from sidelight.base.configuration.section import Secret, Section

TENANT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"


ANY_TENANT = "*"


Tenant = Annotated[
    str,
    Field(
        pattern=rf"^({TENANT_PATTERN}|\*)$",
        description="Whose data this is; `*`: whose the sender says, for other collectors.",
    ),
]


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
