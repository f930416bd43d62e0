"""Who may send, in sidelight.yaml: bearer tokens and their tenants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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


class Auth(Section):
    """Who may send to the receivers."""

    tokens: tuple[Tokens, ...] = Field((), description="Bearer tokens that may send; none: all.")
