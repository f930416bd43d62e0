"""The common part of HTTP exporters: sends stored bytes, with credentials that can be rotated."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sidelight.base.configuration.section import ConfigError
from sidelight.base.executor import run_in_thread
from sidelight.base.http_client.client import Answer, NoAnswerError
from sidelight.collector.destinations.common.answer import LARGE_BYTES, judge, no_answer
from sidelight.collector.destinations.common.config import UrlDestination
from sidelight.collector.destinations.common.credentials import Credentials
from sidelight.collector.destinations.common.outcome import Delivered, Outcome, Rejected
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

# Phoenix answers 415 to any other spelling.
_CONTENT_TYPE = {"Content-Type": "application/x-protobuf"}
_UNAUTHORIZED = (401, 403)


class HttpExporter:
    """Sends each record as it is stored, to the path of its signal."""

    def __init__(
        self,
        config: UrlDestination,
        *,
        paths: Mapping[Signal, str],
        credentials: Credentials,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.name = config.name
        self.signals = frozenset(paths)
        self.pace_items_per_second = config.pace_items_per_second
        self.url = config.url
        self.timeout_seconds = config.timeout_seconds
        self._paths = paths
        self._credentials = credentials
        self._headers = {**_CONTENT_TYPE, **(headers or {})}
        # Kept until the backend does not accept them: reading them for each batch would need a
        # thread each time.
        self._authorization: dict[str, str] | None = None
        self._largest_accepted_bytes = 0
        self._client = config.http_client(config.url, config.timeout_seconds)

    async def send(self, record: Record) -> Outcome:
        """Send one record. Faults of network, backend and credentials are outcomes."""
        # The stored bytes are sent as they are, compressed or not.
        encoding = {} if record.encoding == "identity" else {"Content-Encoding": "gzip"}
        headers = {**self._headers, **encoding}
        return await self.export(self._paths[record.signal], record.payload, headers)

    async def send_nothing(self, signal: Signal) -> Outcome | None:
        """Send an empty request of the signal, as `send` would."""
        return await self.send(Record(signal, gzip.compress(b""), 0, time.time_ns()))

    async def export(self, path: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """The outcome of a POST, whatever becomes of it."""
        try:
            answer = await self.post(path, body, headers)
        except (NoAnswerError, ConfigError) as error:
            return no_answer(
                error, sent_bytes=len(body), accepted_bytes=self._largest_accepted_bytes
            )
        outcome = self._judge(answer, self.url + path)
        if isinstance(outcome, Rejected) and outcome.status == 413:
            return replace(outcome, is_large=len(body) > LARGE_BYTES)
        if isinstance(outcome, Delivered):
            self._largest_accepted_bytes = max(self._largest_accepted_bytes, len(body))
        return outcome

    def _judge(self, answer: Answer, url: str) -> Outcome:
        """The outcome of an answer from `url`."""
        return judge(answer, url=url, credentials=self._credentials.sources)

    def close(self) -> None:
        """Close the connections. A `send` under way returns `Retry` at once."""
        self._client.close()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST with the credentials, which are read again if the backend does not accept them.

        Raises `NoAnswerError`, and `ConfigError` if a secret cannot be read.
        """
        used = self._authorization
        if used is None:
            used = self._authorization = await self._read_credentials()
        answer = await self._client.post(path, body, {**headers, **used})
        if answer.status not in _UNAUTHORIZED:
            return answer
        # They may have been rotated: the files or variables have newer ones.
        self._authorization = None
        fresh = await self._read_credentials()
        # The same credentials would get the same answer.
        if fresh == used:
            return answer
        self._authorization = fresh
        return await self._client.post(path, body, {**headers, **fresh})

    async def _read_credentials(self) -> dict[str, str]:
        """Read the credentials on a thread: they may be files on a disk that hangs."""
        return await run_in_thread(self._credentials.headers, "sidelight-secrets")


def check_headers(destination: str, names: Iterable[str]) -> None:
    """Raise `ConfigError` if the name of a header is not valid."""
    for name in names:
        # A `token` of RFC 9110.
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ConfigError(f"destination {destination}: {name!r} is not a valid header name")
