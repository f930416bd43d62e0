"""The section `auth` of sidelight.yaml: bearer tokens of senders, and their tenants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sidelight.base.configuration.section import Secret, Section

TENANT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"

ANY_TENANT = "*"
"""The tenant of a sender that names the tenant of its data itself, as other collectors do."""

Tenant = Annotated[
    str,
    Field(
        pattern=rf"^({TENANT_PATTERN}|\*)$",
        description="Tenant of the data. `*`: the sender names it, for other collectors.",
    ),
]


class Tokens(Secret):
    """Bearer tokens, one a line: `TOKEN`, or `TENANT: TOKEN`."""

    tenant: Tenant | None = Field(None, description="Tenant of the lines that name none.")


class Auth(Section):
    """The senders that receivers accept."""

    tokens: tuple[Tokens, ...] = Field(
        (), description="Bearer tokens of senders. none: every sender is accepted."
    )
