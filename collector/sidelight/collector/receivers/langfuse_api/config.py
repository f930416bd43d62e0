"""The configuration of the Langfuse API receiver."""

from __future__ import annotations

from pydantic import Field

from sidelight.base.auth.config import LangfuseKey
from sidelight.base.configuration.section import Section


class LangfuseApi(Section):
    """Langfuse's own API, as far as its SDKs need it to send traces."""

    keys: tuple[LangfuseKey, ...] = Field((), description="Key pairs that may send.")
