"""KV events as the cache model takes them: blocks by key, without tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stored:
    """Blocks of one request that the engine has just stored, in the order of the prompt.

    `parent` is the block before the first one; None at the start of a prompt. `block_tokens` is
    the size of a block in tokens.
    """

    blocks: tuple[int, ...]
    parent: int | None
    block_tokens: int


@dataclass(frozen=True, slots=True)
class Removed:
    """Blocks that the engine has evicted."""

    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    """The engine has emptied the cache."""


CacheEvent = Stored | Removed | Cleared
