"""The calls of Grafana's HTTP API that publishing needs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

_TIMEOUT_SECONDS: Final = 30
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024

Document = dict[str, Any]


class GrafanaError(Exception):
    """Grafana cannot be reached or refused a call; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class GrafanaApi:
    """A Grafana at an address, and the token of a service account."""

    address: str
    token: str = field(repr=False)

    def board(self, uid: str) -> Document | None:
        """A dashboard with its `meta`, or None if there is none. Raises `GrafanaError`."""
        return self._call("GET", f"/api/dashboards/uid/{quote(uid)}", missing_is_none=True)

    def save_board(self, board: Document, folder_uid: str) -> None:
        """Create or replace a dashboard in a folder. Raises `GrafanaError`."""
        body = {
            "dashboard": board,
            "folderUid": folder_uid,
            "overwrite": True,
            "message": "sidelight dashboards push",
        }
        self._call("POST", "/api/dashboards/db", body)

    def folder(self, uid: str) -> Document | None:
        """A folder, or None if there is none. Raises `GrafanaError`."""
        return self._call("GET", f"/api/folders/{quote(uid)}", missing_is_none=True)

    def create_folder(self, uid: str, title: str) -> None:
        """Create a folder. Raises `GrafanaError`."""
        self._call("POST", "/api/folders", {"uid": uid, "title": title})

    def _call(
        self, method: str, path: str, body: Document | None = None, *, missing_is_none: bool = False
    ) -> Document | None:
        request = urllib.request.Request(  # noqa: S310 (the user's own address)
            f"{self.address.rstrip('/')}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                document: Document = json.loads(answer.read(_MAX_ANSWER_BYTES))
                return document
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing_is_none:
                return None
            raise GrafanaError(f"{method} {path}: {_reason(error)}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise GrafanaError(
                f"{self.address} does not answer as Grafana does ({reason}); correct the address"
            ) from None


def _reason(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return (
            f"status {error.code}; give a token of a service account that may write dashboards "
            "and folders"
        )
    try:
        said = json.loads(error.read(_MAX_ANSWER_BYTES))["message"]
    except (ValueError, KeyError, TypeError, OSError):
        said = "no message"
    return f"status {error.code} ({said}); look in Grafana's log"
