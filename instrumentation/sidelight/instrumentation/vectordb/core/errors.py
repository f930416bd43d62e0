"""What is known of the errors of a client library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidelight.instrumentation.vectordb.core.failures import Failure

if TYPE_CHECKING:
    from sidelight.instrumentation.vectordb.core.call import Arguments

MAX_NAMES: Final = 256
MAX_NAME_CHARACTERS: Final = 255

# Arguments that name a part of a collection, in every client.
# What is not here may be content, even where it names something: keys of a payload are an app's.
_NAMES: Final = (
    "collection_name", "name", "old_name", "new_name", "anns_field", "ann_field", "field_name",
    "output_fields", "group_by", "group_by_field", "group_by_fields", "index_name", "using",
    "vector_name", "partition_name", "partition_names",
)  # fmt: skip


def no_names(_client: Any, _arguments: Arguments) -> Iterable[str]:
    """For clients that tell no more names than their arguments do."""
    return ()


@dataclass(frozen=True, slots=True)
class ClientErrors:
    """How to read the errors of a client library."""

    describe: Callable[[BaseException], Failure]
    folder: Path
    """Of the database, with `messages.txt`."""
    words: frozenset[str]
    """What is safe in a message: operators, data types, kinds of metrics and indexes."""
    field_names: Callable[[Any, Arguments], Iterable[str]] = no_names
    """Names of fields that the client and the arguments of a call tell."""

    def names(self, client: Any, arguments: Arguments) -> frozenset[str]:
        """Names of the collection of a call and of its fields, as far as they are known."""
        names: set[str] = set()
        for name in (*_argument_names(arguments), *self.field_names(client, arguments)):
            # A schema may have thousands of fields, and this runs on the app's thread.
            if len(names) >= MAX_NAMES:
                break
            if isinstance(name, str) and len(name) <= MAX_NAME_CHARACTERS:
                names.add(name)
        return frozenset(names)


def _argument_names(arguments: Mapping[str, Any]) -> Iterator[Any]:
    for argument in _NAMES:
        value = arguments.get(argument)
        if isinstance(value, list | tuple):
            yield from value[:MAX_NAMES]
        else:
            yield value
