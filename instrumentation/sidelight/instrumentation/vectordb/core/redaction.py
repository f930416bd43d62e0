"""Cuts what a call was given out of the database's error message, where text may not leave.

Databases quote: Milvus the filter or one token of it, Chroma whole documents and conditions,
Qdrant ids and vector names. What was given is at hand, so that is what is looked for; the rest
of the message, which says what was wrong, stays. Only done for calls that failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

NOT_CAPTURED: Final = "<not captured>"

# Arguments that say where and how, not what; every other argument may hold content.
_STRUCTURE: Final = frozenset(
    {
        "address", "anns_field", "collection_name", "context", "field_name", "handler", "limit",
        "name", "output_fields", "param", "params", "partition_names", "schema", "timeout", "using",
    }
)  # fmt: skip
# Filters in a language of their own, of which a message may quote any word.
_EXPRESSIONS: Final = frozenset({"expression", "expr", "filter"})
_KEYWORDS: Final = frozenset(
    {"and", "array_contains", "exists", "in", "is", "json_contains", "like", "not", "null", "or"}
)
# More given than this is not looked through: then the message is not kept at all.
MAX_LEAVES: Final = 20_000
MAX_CHARACTERS: Final = 1_000_000
MAX_DEPTH: Final = 16
_REPEATED: Final = re.compile(rf"{NOT_CAPTURED}(?:\s+{NOT_CAPTURED})+")
_WORD: Final = re.compile(r"\w+")
# As many words in a row that are also in a row in a text are taken for a part of it.
_RUN: Final = 3
# Shorter numbers are sizes, dimensions and columns rather than what identifies a record.
_NUMBER_DIGITS: Final = 3
_SIZE: Final = re.compile(r"(?i)\b(dim|dimensions?|expected|expecting|got|length|size)\W{1,3}$")
_SCALARS: Final = (bool, type(None))
# Whose values are told as a text.
_PLAIN_MODULES: Final = frozenset({"uuid", "datetime", "decimal"})
# Kinds of arrays that hold no vectors: integers, texts, bytes and objects.
_NO_VECTORS: Final = frozenset("iuUSO")


class _TooMuchError(Exception):
    """The arguments hold more than is looked through."""


def redacted(text: str, arguments: Mapping[str, Any], client_package: str) -> str:
    """`text` without what it repeats of `arguments`, given by name.

    Objects of classes of `client_package` are looked through, those of other packages are not.
    """
    budget = _Budget(client_package)
    try:
        given = {
            leaf
            for name, value in arguments.items()
            if name not in _STRUCTURE
            for leaf in _leaves(value, budget)
        }
    except _TooMuchError:
        return NOT_CAPTURED
    named = {str(arguments.get(name)) for name in ("collection_name", "name")}
    for leaf in sorted(given - named, key=len, reverse=True):
        text = _without(text, leaf)
    text = _without_runs(text, "\0".join(leaf for leaf in given if " " in leaf))
    text = _without_words(text, _words_of_expressions(arguments) - _KEYWORDS - named)
    return _REPEATED.sub(NOT_CAPTURED, text)


def _words_of_expressions(arguments: Mapping[str, Any]) -> set[str]:
    """Words of filters, those of a hybrid search's branches included."""
    expressions = [value for name, value in arguments.items() if name in _EXPRESSIONS]
    branches = arguments.get("reqs")
    if isinstance(branches, list | tuple):
        expressions += [getattr(branch, "expr", None) for branch in branches]
    words = {
        word for expression in expressions if expression for word in _WORD.findall(str(expression))
    }
    return {word for word in words if len(word) > 1}


def _without(text: str, given: str) -> str:
    """`text` without `given`, as it is and as it stands in quotes of Python or JSON."""
    if len(given) > len(text):
        return text
    for form in dict.fromkeys((given, repr(given)[1:-1], json.dumps(given)[1:-1])):
        if form in text:
            start = r"(?<!\w)" if form[:1].isalnum() else ""
            end = r"(?!\w)" if form[-1:].isalnum() else ""
            pattern = start + re.escape(form) + end
            text = re.sub(pattern, _unless_a_size if form.isdecimal() else NOT_CAPTURED, text)
    return text


def _unless_a_size(number: re.Match[str]) -> str:
    """Nothing of a number, but all of one that the message calls a dimension or the like."""
    return number[0] if _SIZE.search(number.string, 0, number.start()) else NOT_CAPTURED


def _without_runs(text: str, given: str) -> str:
    """`text` without words that follow each other in `given` too."""
    words = list(_WORD.finditer(text))
    cut = [False] * len(words)
    for place in range(len(words) - _RUN + 1):
        run = text[words[place].start() : words[place + _RUN - 1].end()]
        if run in given:
            cut[place : place + _RUN] = [True] * _RUN
    for word, is_given in reversed(list(zip(words, cut, strict=True))):
        if is_given:
            text = text[: word.start()] + NOT_CAPTURED + text[word.end() :]
    return text


def _without_words(text: str, words: Set[str]) -> str:
    if not words:
        return text
    return _WORD.sub(lambda word: NOT_CAPTURED if word[0] in words else word[0], text)


class _Budget:
    """How much is still looked through, and whose objects are."""

    def __init__(self, client_package: str) -> None:
        self.client_package: Final = client_package
        self._leaves = MAX_LEAVES
        self._characters = MAX_CHARACTERS

    def spend(self, characters: int = 0) -> None:
        """Takes one leaf off. Raises `_TooMuchError`."""
        self._leaves -= 1
        self._characters -= characters
        if self._leaves < 0 or self._characters < 0:
            raise _TooMuchError


def _leaves(value: Any, budget: _Budget, depth: int = 0) -> Iterator[str]:
    """The texts and longer numbers in `value`; of a vector, nothing."""
    budget.spend(len(value) if isinstance(value, str) else 0)
    if isinstance(value, str):
        if len(value) > 1:
            yield value
    elif isinstance(value, _SCALARS):
        return
    elif isinstance(value, float):
        yield str(value)
    elif isinstance(value, int):
        if abs(value) >= 10 ** (_NUMBER_DIGITS - 1):
            yield str(value)
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif depth > MAX_DEPTH:
        raise _TooMuchError
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(name, budget, depth + 1)
            yield from _leaves(inner, budget, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        if not _is_vector(value):
            for inner in value:
                yield from _leaves(inner, budget, depth + 1)
    elif type(value).__module__.startswith(budget.client_package):
        for inner in getattr(value, "__dict__", {}).values():
            yield from _leaves(inner, budget, depth + 1)
    elif type(value).__module__ in _PLAIN_MODULES:
        yield str(value)
        if hasattr(value, "isoformat"):
            yield value.isoformat()
    elif getattr(getattr(value, "dtype", None), "kind", None) in _NO_VECTORS:
        if value.size > MAX_LEAVES:
            raise _TooMuchError
        yield from _leaves(value.tolist(), budget, depth + 1)


def _is_vector(values: Any) -> bool:
    """Whether these are numbers of a vector, told by the first of them."""
    return bool(values) and isinstance(values, list | tuple) and isinstance(values[0], float)
