"""Of an error message, what is known to be safe is kept, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidelight.instrumentation import messages as messages_module
from sidelight.instrumentation.messages import (
    MAX_MESSAGE_CHARACTERS,
    NOT_CAPTURED,
    Messages,
)
from sidelight.instrumentation.vectordb.registry import LIBRARIES

LINES = [
    "# A comment, and an empty line.",
    "",
    "expected dim {number}, got {number}",
    "field {name} should be a {}, but got a {}",
    "no field {} in {}",
    "available fields: {name}",
    "bad point {}: {message}",
    "{message} in {}.",
    "two\\nlines {}",
]
MESSAGES = Messages(LINES, frozenset({"varchar", "add", "=="}))
NAMES = frozenset({"title", "docs"})


def kept(message: str) -> str:
    """What is kept with the names of a call."""
    return MESSAGES.kept(message, NAMES)


class TestSlots:
    def test_a_number_is_kept_where_a_message_has_a_size(self) -> None:
        """Anything else there is cut, and numbers elsewhere are content."""
        assert kept("expected dim 8, got 384") == "expected dim 8, got 384"
        assert kept("expected dim 8, got Jane") == f"expected dim 8, got {NOT_CAPTURED}"
        assert kept("no field 4711 in docs") == f"no field {NOT_CAPTURED} in docs"

    def test_a_name_is_kept_where_a_message_has_one_from_a_schema(self) -> None:
        """One name or a list of them; a sentence is no name."""
        assert kept("available fields: ['id', 'price']") == "available fields: ['id', 'price']"
        assert kept("available fields: Jane Doe") == f"available fields: {NOT_CAPTURED}"

    def test_other_values_are_kept_if_they_are_known_words(self) -> None:
        """Types, words of the client, names of the call; all of a value or nothing."""
        for value in ("title", "'title'", "<class 'str'>", "[docs, title]", "==", "None", "''"):
            assert kept(f"no field {value} in docs") == f"no field {value} in docs"
        for value in ("Jane", "title of Jane", "<class 'app.Jane'>", "['Jane']", "title\0title"):
            assert kept(f"no field {value} in docs") == f"no field {NOT_CAPTURED} in docs"

    def test_a_message_inside_a_message_is_treated_alike(self) -> None:
        """Clients put words around what a server said."""
        inner = "bad point title: expected dim 8, got 384"
        assert kept(inner) == inner
        assert kept(f"{inner} in add.") == f"{inner} in add."
        assert kept("bad point 4711: Jane") == f"bad point {NOT_CAPTURED}: {NOT_CAPTURED}"


class TestMessages:
    def test_that_are_not_listed_are_cut_whole(self) -> None:
        """Also one that ends or begins like a listed one."""
        for message in ("Jane", "", "expected dim", "Jane: expected dim 8, got 9", "Jane in add."):
            assert kept(message) == NOT_CAPTURED

    def test_may_have_lines(self) -> None:
        """A line break is written as one would in Python."""
        assert kept("two\nlines title") == "two\nlines title"

    def test_of_any_length_are_cut_to_their_ends(self) -> None:
        """A batch in the middle of a message neither costs time nor hides its end."""
        long = "x" * MAX_MESSAGE_CHARACTERS

        assert kept(f"no field {long} in docs") == f"no field {NOT_CAPTURED} in docs"
        assert kept(f"expected dim 8, got {long}") == f"expected dim 8, got {NOT_CAPTURED}"

    def test_nest_only_so_deep(self) -> None:
        """What a message repeats without end is not followed."""
        assert kept("bad point title: " * 1_000).endswith(NOT_CAPTURED)


def test_a_message_made_of_messages_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fit into one another: a client may quote an error of its own, many times."""
    compared = 0
    best = messages_module._Comparison._best

    def counted(*args: Any) -> str:
        nonlocal compared
        compared += 1
        return best(*args)

    monkeypatch.setattr(messages_module._Comparison, "_best", counted)
    message = "x"
    for _ in range(8):
        message = f"bad point {message}: {message} in {message}. in add."
        kept(message)

    assert compared <= 8 * messages_module.MAX_COMPARED


@settings(deadline=None, max_examples=25)
@given(st.text(alphabet="äöüßçñ0123456789 \n:,.'\"[]{}()<>", min_size=3))
def test_no_value_passes_any_message_of_a_client(value: str) -> None:
    """Whatever stands in the slots of all listed messages, it is cut or made of known words."""
    planted = f"Jäne {value} Döe"
    for library in LIBRARIES:
        messages = _messages(library.database.name)
        for line in _LINES[library.database.name]:
            message = line
            for slot in ("{}", "{number}", "{name}", "{message}"):
                message = message.replace(slot, planted)
            shown = messages.kept(message.replace("\\n", "\n"))
            assert "Jäne" not in shown
            assert "Döe" not in shown


_LINES = {
    library.database.name: (library.errors.folder / "messages.txt").read_text("utf-8").splitlines()
    for library in LIBRARIES
}
_KNOWN = {
    library.database.name: Messages.of(library.errors.folder, library.errors.words)
    for library in LIBRARIES
}


def _messages(database: str) -> Messages:
    return _KNOWN[database]
