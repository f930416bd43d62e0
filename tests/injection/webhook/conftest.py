"""An API server on a busy machine is given time: its own limits are not what is tested."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is given up is told as a fault, and made again later."""
    monkeypatch.setattr("sidelight.injection.webhook.kubernetes_api._TIMEOUT_SECONDS", 120.0)
