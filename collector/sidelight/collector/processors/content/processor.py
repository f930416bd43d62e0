"""Applies the content policy of a service: how much of prompts, answers and documents is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Protocol

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sidelight import conventions as c
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.processors.common.processed import (
    Item,
    Processed,
    Steps,
    edit_in_steps,
    opened,
)
from sidelight.collector.processors.common.search import Trigger
from sidelight.collector.processors.content.config import Content, ContentPolicy
from sidelight.collector.processors.content.names import (
    EVENTS,
    STEMS,
    STRUCTURE,
    Kind,
    kind_of,
    kind_of_text,
)
from sidelight.otlp.otlp_pb2 import Scopes

_EVENT_NAME = "event.name"
# 24 characters: short enough to read, and no two texts of a project share one.
_HASH_BYTES = 12

Transform = Callable[[str], str]


class Policy(Protocol):
    """What one policy does with a sensitive value."""

    @property
    def flags_changes(self) -> bool:
        """Whether a span it changed says that its content was cut."""

    def value(self, kind: Kind, value: AnyValue) -> bool:
        """Change `value` in place; False if it must go altogether."""


@dataclass(frozen=True, slots=True)
class Off:
    """No content, no ids of documents."""

    flags_changes: bool = False

    def value(self, kind: Kind, value: AnyValue) -> bool:  # noqa: ARG002 (Policy)
        """Nothing stays."""
        return False


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids and scores of documents, no text."""

    flags_changes: bool = False

    def value(self, kind: Kind, value: AnyValue) -> bool:
        """Ids and scores stay; a list of documents is reduced to them."""
        if kind in ("id", "score"):
            return True
        reduced = _ids_only(value.string_value) if kind == "documents" else None
        if reduced is None:
            return False
        value.string_value = reduced
        return True


@dataclass(frozen=True, slots=True)
class Texts:
    """Every text goes through `transform`; embeddings go, ids and scores stay.

    `keeps_structure` leaves roles, types and the like inside JSON as they are, and
    `drops_numbers` says that a number can tell what a text would (tool arguments).
    """

    transform: Transform
    drops_numbers: bool
    flags_changes: bool

    def value(self, kind: Kind, value: AnyValue) -> bool:
        """Embeddings go; ids and scores stay; every text is transformed."""
        if kind in ("id", "score"):
            return True
        if kind == "vector":
            return False
        self._any(value)
        return True

    def _any(self, value: AnyValue) -> None:
        which = value.WhichOneof("value")
        if which == "string_value":
            value.string_value = self._text(value.string_value)
        elif which == "array_value":
            for item in value.array_value.values:
                self._any(item)
        elif which == "kvlist_value":
            for pair in value.kvlist_value.values:
                if pair.key not in STRUCTURE:
                    self._any(pair.value)
        elif which == "bytes_value":
            # Cut or hashed it is a text, and bytes that end in the middle of a character are not.
            value.string_value = self.transform(value.bytes_value.decode("utf-8", "replace"))
        elif which is not None and self.drops_numbers:
            value.string_value = self.transform(_number(value, which))

    def _text(self, text: str) -> str:
        if text[:1] in ("{", "["):
            try:
                parsed = json.loads(text)
                changed = self._json(parsed)
                return text if changed == parsed else _dumps(changed)
            except (ValueError, RecursionError):
                pass  # it only looked like JSON, and is one text
        return self.transform(text)

    def _json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if isinstance(value, dict):
            return {
                key: inner if key in STRUCTURE and _is_plain(inner) else self._json(inner)
                for key, inner in value.items()
            }
        if value is None or not self.drops_numbers:
            return value
        return self.transform(json.dumps(value))


class ContentProcessor:
    """Holds the policies, and applies that of a span's service."""

    def __init__(
        self,
        default: ContentPolicy,
        services: Mapping[str, ContentPolicy],
        *,
        max_characters: int,
        hash_key: bytes,
    ) -> None:
        """`services` maps names or patterns (`rag-*`) to policies; an exact name wins."""
        self._policies: dict[ContentPolicy, Policy | None] = {
            "full": None,
            "off": Off(),
            "ids": Ids(),
            "truncated": Texts(
                partial(_cut, length=max_characters), drops_numbers=False, flags_changes=True
            ),
            "hashed": Texts(partial(_hash, key=hash_key), drops_numbers=True, flags_changes=False),
        }
        self._default = default
        self._services = dict(services)
        self._trigger = (
            None if self.is_full else Trigger([re.escape(stem) for stem in STEMS], are_bytes=True)
        )

    @property
    def is_full(self) -> bool:
        """Whether every service's content is passed on as it came."""
        return {self._default, *self._services.values()} == {"full"}

    def process_spans(self, service: str, scope: Scopes, processed: Processed) -> Steps[None]:
        """Hold the spans of a scope to the policy of their service."""
        return self._process(service, scope, Span, apply_to_span, processed)

    def process_logs(self, service: str, scope: Scopes, processed: Processed) -> Steps[None]:
        """Hold the log records of a scope to the policy of their service."""
        return self._process(service, scope, LogRecord, apply_to_log, processed)

    def _process(
        self,
        service: str,
        scope: Scopes,
        kind: type[Item],
        apply: Callable[[Policy, Item], bool],
        processed: Processed,
    ) -> Steps[None]:
        policy = self.policy(service)
        if self._trigger is not None and policy is not None:
            items = list(scope.items)
            suspects = self._trigger.suspects(items)
            change = opened(kind, partial(apply, policy))
            yield from edit_in_steps(scope, items, suspects, change, processed)

    def policy(self, service: str) -> Policy | None:
        """The policy of a service; None keeps everything."""
        exact = self._services.get(service)
        if exact is not None:
            return self._policies[exact]
        matches = (p for pattern, p in self._services.items() if fnmatchcase(service, pattern))
        return self._policies[next(matches, self._default)]


def build(section: Content, hash_key: bytes) -> ContentProcessor:
    """The processor of a configuration, with a `hash_key` for one that names none.

    Raises `ConfigError` if the environment names no policy or a secret is missing.
    """
    try:
        default = section.effective_default()
    except ValueError as error:
        raise ConfigError(f"environment: {error}") from error
    return ContentProcessor(
        default,
        section.services,
        max_characters=section.max_characters,
        hash_key=_hash_key(section, hash_key),
    )


def _hash_key(section: Content, otherwise: bytes) -> bytes:
    if section.hash_key is None:
        return otherwise
    secret = section.hash_key.read()
    if secret is None:
        raise ConfigError(
            f"processors.content.hash_key: {section.hash_key} is empty: set it, or leave "
            "the key out for hashes that change at each start"
        )
    # blake2b takes keys of at most 64 bytes.
    return hashlib.sha256(secret.encode()).digest()


def apply_to_span(policy: Policy, span: Span) -> bool:
    """Hold a span's attributes, events and links to the policy; whether anything changed."""
    changed = _attributes(policy, span.attributes)
    # From the end: deleting one moves those behind it.
    for index in reversed(range(len(span.events))):
        event = span.events[index]
        carried = EVENTS.get(event.name)
        changed |= _attributes(policy, event.attributes, carried)
        # Roles and types alone say nothing without the content they belonged to.
        if carried is not None and all(pair.key in STRUCTURE for pair in event.attributes):
            del span.events[index]
            changed = True
    for link in span.links:
        changed |= _attributes(policy, link.attributes)
    if changed and policy.flags_changes:
        _flag_cut(span.attributes)
    return changed


def apply_to_log(policy: Policy, record: LogRecord) -> bool:
    """Hold a log record to the policy: its attributes, and its body if it carries content."""
    name = record.event_name or _event_name(record.attributes)
    carried = EVENTS.get(name)
    changed = _attributes(policy, record.attributes, carried)
    if carried is not None and record.HasField("body"):
        before = record.body.SerializeToString()
        if not policy.value(carried, record.body):
            record.ClearField("body")
        changed |= record.body.SerializeToString() != before
    if changed and policy.flags_changes:
        _flag_cut(record.attributes)
    return changed


def _attributes(
    policy: Policy,
    pairs: RepeatedCompositeFieldContainer[KeyValue],
    carried: Kind | None = None,
) -> bool:
    """Apply the policy to attributes; of an event that carries content to all but structure."""
    dropped: list[int] = []
    changed = False
    for index, pair in enumerate(pairs):
        kind = _kind(pair)
        if kind is None and carried is not None and pair.key not in STRUCTURE:
            kind = carried
        if kind is None:
            continue
        # Compared as bytes: a policy may write what was there, and the span then stays as it came.
        before = pair.value.SerializeToString()
        if not policy.value(kind, pair.value):
            dropped.append(index)
        elif not changed:
            changed = pair.value.SerializeToString() != before
    for index in reversed(dropped):
        del pairs[index]
    return changed or bool(dropped)


def _kind(pair: KeyValue) -> Kind | None:
    which = pair.value.WhichOneof("value")
    if which in ("string_value", "array_value", "kvlist_value", "bytes_value"):
        return kind_of_text(pair.key)
    return kind_of(pair.key)


def _flag_cut(pairs: RepeatedCompositeFieldContainer[KeyValue]) -> None:
    if all(pair.key != c.CONTENT_TRUNCATED for pair in pairs):
        pair = pairs.add()
        pair.key = c.CONTENT_TRUNCATED
        pair.value.bool_value = True


def _event_name(pairs: Iterable[KeyValue]) -> str:
    return next((pair.value.string_value for pair in pairs if pair.key == _EVENT_NAME), "")


def _ids_only(text: str) -> str | None:
    try:
        documents = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # Anything else may hold texts under any key, so nothing of it is kept.
    if not isinstance(documents, list) or not all(
        isinstance(document, dict) and "id" in document for document in documents
    ):
        return None
    kept = ("id", "score")
    return _dumps(
        [{key: document[key] for key in kept if key in document} for document in documents]
    )


def _cut(text: str, *, length: int) -> str:
    return text[:length]


def _hash(text: str, *, key: bytes) -> str:
    # JSON can hold half of a surrogate pair, which must not fail the span.
    digest = hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), key=key, digest_size=_HASH_BYTES
    )
    return f"hash:{digest.hexdigest()}"


def _number(value: AnyValue, which: str) -> str:
    return json.dumps(getattr(value, which))


def _is_plain(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _dumps(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: only an escape can say it
        return json.dumps(value)
    return text
