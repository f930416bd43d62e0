"""What may be kept of an error message where text may not leave: what is known to be safe.

Clients and servers quote in their messages what they were given, in any form: cut, escaped,
formatted by a class of the app. So nothing is looked for that must go. Instead, the texts that a
client and its server are known to say are listed, with a slot for each value, and of a message
that fits none of them nothing is kept.

`messages.txt` has one message a line (`\\n` is a line break, `#` starts a comment). Its slots:

| slot | kept |
|---|---|
| `{}` | if it is made of known words: types, operators, names of the collection and its fields |
| `{number}` | if it is a number; only where a message has a size, a limit or a position |
| `{name}` | if it looks like names; only where a message has names from a schema |
| `{message}` | if it fits a message itself |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Final, NamedTuple

NOT_CAPTURED: Final = "<not captured>"

# A client may quote a whole batch. Of longer messages the middle is left out: what a client says
# itself is at the beginning and the end.
MAX_MESSAGE_CHARACTERS: Final = 8_000
MAX_SLOT_CHARACTERS: Final = 300
MAX_DEPTH: Final = 4
# Messages inside one message that are compared with all that are known: one takes 0.1 ms.
MAX_COMPARED: Final = 20

# Names of types, as clients print them.
TYPE_NAMES: Final = frozenset(
    {
        "None", "NoneType", "bool", "bytearray", "bytes", "class", "complex", "datetime", "date",
        "datetime.date", "datetime.datetime", "decimal.Decimal", "Decimal", "dict", "float",
        "frozenset", "function", "generator", "int", "list", "map", "ndarray", "number", "numpy",
        "numpy.array", "numpy.bool", "numpy.bool_", "numpy.float16", "numpy.float32",
        "numpy.float64", "numpy.int16", "numpy.int32", "numpy.int64", "numpy.int8",
        "numpy.ndarray", "numpy.str_", "numpy.uint32", "numpy.uint64", "numpy.uint8", "float16",
        "float32", "float64", "int16", "int32", "int64", "int8", "uint32", "uint64", "uint8",
        "object", "pandas.core.frame.DataFrame", "pandas.core.series.Series", "DataFrame",
        "Series", "range", "set", "slice", "str", "string", "tuple", "type", "uuid.UUID", "UUID",
        "zip",
    }
)  # fmt: skip

_SLOT: Final = re.compile(r"\{(number|name|message)?\}")
_NUMBER: Final = re.compile(r"-?\d{1,12}(?:\.\d{1,6})?")
# One name or a list of them, bare or in quotes.
_NAMES: Final = re.compile(
    r"(?P<quote>['\"]?)[A-Za-z_$#][\w$#.-]*(?P=quote)"
    r"|\[(?:(?P<quotes>['\"]?)[A-Za-z_$#][\w$#.-]*(?P=quotes)(?:, |(?=\])))+\]"
)
# What may stand between known words: quotes, brackets and commas of Python and JSON.
_BETWEEN_WORDS: Final = re.compile(r"[\s,\[\](){}'\"<>`|]+")
_EMPTY: Final = frozenset({"", "''", '""', "[]", "{}", "()"})


class _Template(NamedTuple):
    # One more than there are slots.
    texts: tuple[str, ...]
    slots: tuple[str, ...]


class Messages:
    """The messages of one client and its server."""

    def __init__(self, lines: Iterable[str], words: Set[str] = frozenset()) -> None:
        """`lines` are of `messages.txt` files; `words` are safe in any message of this client."""
        self.words: Final = TYPE_NAMES | words
        self.templates: Final = sorted(
            {_template(line) for line in lines if line.strip() and line[0] != "#"}
        )

    @classmethod
    def of(cls, folder: Path, words: Set[str]) -> Messages:
        """The messages of a database's folder, and those of the libraries that all of them use."""
        files = (folder / "messages.txt", Path(__file__).with_name("messages.txt"))
        return cls([line for file in files for line in file.read_text("utf-8").splitlines()], words)

    def kept(self, message: str, names: Set[str] = frozenset()) -> str:
        """What is safe of `message`; `names` are those of the call's collection and fields."""
        if len(message) > MAX_MESSAGE_CHARACTERS:
            half = MAX_MESSAGE_CHARACTERS // 2
            # In no slot that is kept can there be a NUL.
            message = f"{message[:half]}\0{message[-half:]}"
        return _Comparison(self, names).kept(message.strip(), 0)

    def are_known(self, value: str, names: Set[str]) -> bool:
        """Whether `value` is made of words that are safe."""
        bare = value.strip("'\"`")
        if bare in names or bare in self.words or value in _EMPTY:
            return True
        words = [word for word in _BETWEEN_WORDS.split(value) if word]
        return bool(words) and all(word in self.words or word in names for word in words)


class _Comparison:
    """Compares one message, and those inside it, with all that are known."""

    def __init__(self, messages: Messages, names: Set[str]) -> None:
        self._messages: Final = messages
        self._names: Final = names
        # Several templates may have the same text as a message inside theirs.
        self._compared: dict[str, str] = {}

    def kept(self, message: str, depth: int) -> str:
        """What is safe of a message that is `depth` messages inside the first."""
        if message not in self._compared:
            if depth > MAX_DEPTH or len(self._compared) >= MAX_COMPARED:
                return NOT_CAPTURED
            self._compared[message] = NOT_CAPTURED
            self._compared[message] = self._best(message, depth)
        return self._compared[message]

    def _best(self, message: str, depth: int) -> str:
        best, most = NOT_CAPTURED, 0
        for template in self._messages.templates:
            values = _values(message, template.texts)
            if values is None:
                continue
            parts = [template.texts[0]]
            for kind, value, text in zip(template.slots, values, template.texts[1:], strict=True):
                parts += (self._slot(kind, value, depth), text)
            if template.slots[:1] == ("message",) and parts[:2] == ["", NOT_CAPTURED]:
                continue
            # Several may fit: `unexpected token {}` and `{message} at column {number}`.
            characters = sum(len(part) for part in parts if part != NOT_CAPTURED)
            if characters > most:
                best, most = "".join(parts), characters
        return best

    def _slot(self, kind: str, value: str, depth: int) -> str:
        if kind == "message":
            return self.kept(value, depth + 1)
        if len(value) > MAX_SLOT_CHARACTERS:
            return NOT_CAPTURED
        if kind == "number":
            is_safe = _NUMBER.fullmatch(value) is not None
        elif kind == "name":
            is_safe = _NAMES.fullmatch(value) is not None
        else:
            is_safe = self._messages.are_known(value, self._names)
        return value if is_safe else NOT_CAPTURED


def _template(line: str) -> _Template:
    texts = _SLOT.split(line.replace("\\n", "\n").strip())
    return _Template(tuple(texts[::2]), tuple(kind or "" for kind in texts[1::2]))


def _values(message: str, texts: tuple[str, ...]) -> list[str] | None:
    """What is between the texts of a template in `message`; None if the template does not fit."""
    first, last = texts[0], texts[-1]
    if not message.startswith(first):
        return None
    if len(texts) == 1:
        return [] if message == first else None
    start, end = len(first), len(message) - len(last)
    if end < start or not message.endswith(last):
        return None
    values: list[str] = []
    for text in texts[1:-1]:
        place = message.find(text, start, end)
        if place < 0:
            return None
        values.append(message[start:place])
        start = place + len(text)
    values.append(message[start:end])
    return values
