"""Keeps a self-signed certificate in a Secret, and its authority in the `caBundle`.

Every replica does the same, and none leads. A Secret and a configuration are only changed in the
version that was read, so of two replicas that change one at the same time, one starts over.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sidelight.injection.webhook.certificates.pair import Pair
from sidelight.injection.webhook.certificates.rotation import (
    KEYS,
    Certificates,
    Renewal,
    advanced,
    decoded,
    from_data,
    to_data,
)
from sidelight.injection.webhook.kubernetes_api import (
    ApiError,
    ConflictError,
    KubernetesApi,
    NotFoundError,
)

_logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 30.0
_FIRST_RETRY_SECONDS: Final = 1.0
_MAX_RETRY_SECONDS: Final = 30.0
# API servers follow webhook configurations by a watch, which takes a second or two.
TRUST_SECONDS: Final = 300.0
# Two replicas can collide a few times; more means that something else writes all the time.
_MAX_CONFLICTS: Final = 10

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CertificatePlace:
    """Where the certificates are kept and used."""

    namespace: str
    secret: str
    configuration: str

    @property
    def secrets_path(self) -> str:
        """The collection of the Secret."""
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    @property
    def secret_path(self) -> str:
        """The Secret."""
        return f"{self.secrets_path}/{self.secret}"

    @property
    def configuration_path(self) -> str:
        """The MutatingWebhookConfiguration."""
        kind = "mutatingwebhookconfigurations"
        return f"/apis/admissionregistration.k8s.io/v1/{kind}/{self.configuration}"


class CertificateKeeper:
    """Makes, stores, renews and serves the certificate of one webhook."""

    def __init__(
        self,
        api: KubernetesApi,
        place: CertificatePlace,
        renewal: Renewal,
        serve: Callable[[Pair], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        trust_seconds: float = TRUST_SECONDS,
    ) -> None:
        """`serve` is called with each pair that is to be shown to new connections."""
        self._api = api
        self._place = place
        self._renewal = renewal
        self._serve = serve
        self._now = now
        self._trust_seconds = trust_seconds
        self._served: Pair | None = None
        # The authority of the next pair, and since when this replica sees it in the `caBundle`.
        self._seen: tuple[bytes, float] | None = None
        self.is_trusted = False
        """Whether the `caBundle` has had the authority of the served certificate."""
        self.trouble: str | None = None
        """Why the last look failed; None if it did not."""

    async def run(self) -> None:
        """Look again and again, for ever."""
        retry_seconds = _FIRST_RETRY_SECONDS
        while True:
            try:
                await self.look()
            except ApiError as error:
                if str(error) != self.trouble:
                    # Once for each cause: it is tried again every few seconds.
                    _logger.warning("certificates not checked: %s", error)
                self.trouble = str(error)
                pause, retry_seconds = retry_seconds, min(retry_seconds * 2, _MAX_RETRY_SECONDS)
            else:
                self.trouble = None
                pause, retry_seconds = _LOOK_SECONDS, _FIRST_RETRY_SECONDS
            # Replicas that started together do not look together.
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 (no secret)

    async def look(self) -> None:
        """Read, renew what is due, and serve the current certificate. Raises `ApiError`."""
        for _ in range(_MAX_CONFLICTS):
            try:
                return await self._look_once()
            except ConflictError:
                await asyncio.sleep(random.uniform(0.0, 0.2))  # noqa: S311 (no secret)
        raise ApiError(
            f"the Secret {self._place.secret} or the webhook configuration "
            f"{self._place.configuration} changes all the time: check what else writes to them"
        )

    async def _look_once(self) -> None:
        # The configuration first. A replica changes the Secret before the configuration, so a
        # `caBundle` made of a Secret that has changed since is refused as a conflict.
        try:
            configuration = await self._api.get(self._place.configuration_path)
        except NotFoundError as error:
            # The Secret can be filled already, so that other replicas find it.
            await self._store(trusted=())
            raise ApiError(str(error)) from None
        certificates = await self._store(_authorities_in_all(configuration))
        await self._patch(configuration, certificates)
        self.is_trusted = True

    async def _store(self, trusted: tuple[bytes, ...]) -> Certificates:
        """Read the Secret, change it if something is due, and serve what it holds."""
        secret = await self._read_secret()
        data = secret.get("data") or {}
        stored = from_data(data)
        certificates = advanced(
            stored,
            self._served,
            self._renewal,
            next_is_trusted=self._is_trusted_for_long(stored.next, trusted),
            now=self._now(),
        )
        if certificates != stored:
            others = {key: value for key, value in data.items() if key not in KEYS}
            content = {**secret, "data": {**others, **to_data(certificates)}}
            await self._api.replace(self._place.secret_path, content)
            _logger.info("%s, in the Secret %s", _change(stored, certificates), self._place.secret)
        assert certificates.current is not None
        if certificates.current != self._served:
            self._serve(certificates.current)
            self._served = certificates.current
        return certificates

    async def _read_secret(self) -> dict[str, Any]:
        try:
            return await self._api.get(self._place.secret_path)
        except NotFoundError:
            empty = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": self._place.secret, "namespace": self._place.namespace},
                "type": "Opaque",
            }
            # If another replica is faster, this is a conflict, and its Secret is read.
            return await self._api.create(self._place.secrets_path, empty)

    async def _patch(self, configuration: Mapping[str, Any], certificates: Certificates) -> None:
        bundle = base64.b64encode(b"".join(certificates.authorities)).decode()
        different = [
            {"name": webhook["name"], "clientConfig": {"caBundle": bundle}}
            for webhook in _webhooks(configuration)
            if (webhook.get("clientConfig") or {}).get("caBundle") != bundle
        ]
        if not different:
            return
        version = configuration["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": version}, "webhooks": different}
        await self._api.merge(self._place.configuration_path, change)
        _logger.info("caBundle of the webhook configuration %s set", self._place.configuration)

    def _is_trusted_for_long(self, pair: Pair | None, trusted: tuple[bytes, ...]) -> bool:
        if pair is None or pair.ca.strip() not in trusted:
            self._seen = None
            return False
        if self._seen is None or self._seen[0] != pair.ca:
            self._seen = (pair.ca, time.monotonic())
        return time.monotonic() - self._seen[1] >= self._trust_seconds


def _webhooks(configuration: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return configuration.get("webhooks") or []


def _authorities_in_all(configuration: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The certificates that are in the `caBundle` of every webhook."""
    bundles = [
        _PEM.findall(decoded((webhook.get("clientConfig") or {}).get("caBundle")))
        for webhook in _webhooks(configuration)
    ]
    first, others = (bundles[0], bundles[1:]) if bundles else ([], [])
    return tuple(ca for ca in first if all(ca in bundle for bundle in others))


def _change(before: Certificates, after: Certificates) -> str:
    if before.current is None:
        return "certificate stored"
    if before.next is None and after.next is not None:
        return "next certificate made; it is served once API servers trust it"
    return "certificate renewed" if before.current != after.current else "old authority removed"
