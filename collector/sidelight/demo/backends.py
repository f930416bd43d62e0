"""The backends that the demo sends to and reads back from: its own Phoenix, or the user's."""

from __future__ import annotations

import os
from dataclasses import dataclass

import httpx

from sidelight.demo.langfuse_query import LangfuseReader
from sidelight.demo.phoenix_query import PhoenixReader
from sidelight.demo.processes import ProcessError

_KEYS = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
_PHOENIX_KEY = "PHOENIX_API_KEY"


@dataclass(frozen=True, slots=True)
class Backends:
    """A Phoenix, and a Langfuse if the user named one. `own`: the Phoenix is the demo's."""

    phoenix: PhoenixReader
    own: bool
    langfuse: LangfuseReader | None

    def destinations(self, project: str) -> list[dict[str, object]]:
        """The collector's destinations; their keys are in its environment."""
        destinations: list[dict[str, object]] = [
            {
                "name": "phoenix",
                "type": "phoenix",
                "url": self.phoenix.url,
                "project": project,
                # Phoenix starts at the same time, so retries soon succeed.
                "max_backoff_seconds": 2,
            }
        ]
        if self.langfuse is not None:
            destinations.append({"name": "langfuse", "type": "langfuse", "url": self.langfuse.url})
        return destinations

    def check_phoenix(self) -> None:
        """Ask the user's Phoenix for a trace. Raises `ProcessError` if it does not answer."""
        try:
            self.phoenix.trace("0" * 32)
        except (httpx.HTTPError, ValueError) as error:
            raise ProcessError(
                f"no Phoenix at {self.phoenix.url}: {error}. --phoenix takes its base URL, for "
                f"instance http://127.0.0.1:6006; a key is read from {_PHOENIX_KEY}."
            ) from error

    def check_langfuse(self) -> str:
        """The name of the project in Langfuse. Raises `ProcessError` if it does not answer."""
        assert self.langfuse is not None
        try:
            return self.langfuse.project()
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ProcessError(
                f"no Langfuse at {self.langfuse.url}: {error}. --langfuse takes its base URL, for "
                f"instance https://cloud.langfuse.com; check the keys in {' and '.join(_KEYS)}."
            ) from error


def backends(own_phoenix_url: str, phoenix_url: str | None, langfuse_url: str | None) -> Backends:
    """The backends of the options. Raises `ProcessError` if keys are missing."""
    langfuse = None
    if langfuse_url is not None:
        missing = [name for name in _KEYS if not os.environ.get(name)]
        if missing:
            raise ProcessError(
                f"--langfuse needs the keys of a project: set {' and '.join(missing)}. Create "
                "keys in Langfuse under Settings, API Keys."
            )
        public_key, secret_key = (os.environ[name] for name in _KEYS)
        langfuse = LangfuseReader(langfuse_url.rstrip("/"), public_key, secret_key)
    key = os.environ.get(_PHOENIX_KEY) if phoenix_url else None
    phoenix = PhoenixReader((phoenix_url or own_phoenix_url).rstrip("/"), key)
    return Backends(phoenix, phoenix_url is None, langfuse)
