"""What is known of a request and of its answer, whichever API they used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(slots=True)
class RequestFacts:
    """What a client asked for. `body` is kept only if content may be captured."""

    model: str | None = None
    stream: bool = False
    choices: int = 1
    prompts: int = 1
    user: str | None = None
    session: str | None = None
    # A Responses request that is answered at once and worked on later.
    background: bool = False
    # The path of the route that a request to /invocations is meant for.
    invoked: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    body: Json | None = None
    # The body was longer than what is captured of it.
    is_cut: bool = False

    @property
    def sequences(self) -> int:
        """The number of sequences that the engine makes of the request."""
        return max(1, self.choices) * max(1, self.prompts)


@dataclass(slots=True)
class AnswerFacts:
    """What the server answered. None where the answer did not say.

    `body` is kept only if content may be captured. Of a stream it is what the whole answer would
    have been, and `is_cut` says that texts are missing from it.
    """

    id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    # The indices of the choices that these are of. The end of a stream may name the last only.
    finished_choices: tuple[int, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    # Anthropic's API counts cached tokens apart from those of the input.
    counts_cached_apart: bool = False
    created_tokens: int | None = None
    reasoning_tokens: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    body: Json | None = None
    is_cut: bool = False

    @property
    def prompt_tokens(self) -> int | None:
        """All tokens of the prompt, cached ones included."""
        if self.input_tokens is None or not self.counts_cached_apart:
            return self.input_tokens
        return self.input_tokens + (self.cached_tokens or 0) + (self.created_tokens or 0)
