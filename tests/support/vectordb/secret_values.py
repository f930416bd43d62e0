"""Values that no span, metric or message of ours may tell: texts and numbers of one person."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

NUMBER = 47110815


WORDS = ("Jane", "Doe", "4711", "1951-07-03", "1951, 7, 3")


TEXT = f"Jane Doe {NUMBER}"


DIMENSION = 3


@dataclass
class Patient:
    """A dataclass of the app."""

    name: str = TEXT


class Mood(enum.Enum):
    """An enumeration of the app."""

    JANE_DOE = TEXT


class JaneDoe4711:
    """An object of the app that raises whatever a client does with it."""

    def __repr__(self) -> str:
        return TEXT

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{TEXT} has no {name}")


class Document:
    """A document as LangChain's, which prints its text."""

    def __init__(self) -> None:
        self.page_content = TEXT * 50

    def __repr__(self) -> str:
        return f"Document(page_content={self.page_content!r})"


class JaneDoeError(ValueError):
    """An exception of the app."""


def raising() -> Iterator[Any]:
    """Records that the app fails to make."""
    yield from ()
    try:
        raise KeyError(TEXT)
    except KeyError as error:
        failure = JaneDoeError(TEXT)
        failure.add_note(TEXT)
        raise failure from error


def secrets() -> dict[str, Any]:
    """Values that a message may quote, by a name for the test's output."""
    day = datetime.datetime(1951, 7, 3)
    values: dict[str, Any] = {
        "text": TEXT,
        "identifier": "JaneDoe4711",
        "long text": f"{'x' * 50}{TEXT}{'y' * 5_000}{TEXT}",
        "text like a message": f"Expected IDs to be a list, got {TEXT} as IDs",
        "integer": NUMBER,
        "negative": -NUMBER,
        "float": float(NUMBER),
        "bytes": TEXT.encode(),
        "Decimal": decimal.Decimal(NUMBER),
        "date": day,
        "Path": pathlib.Path(f"/home/{TEXT}"),
        "UUID": uuid.UUID(int=int("4711" * 8, 16)),
        "Enum": Mood.JANE_DOE,
        "dataclass": Patient(),
        "object": JaneDoe4711(),
        "document": Document(),
        "exception": JaneDoeError(TEXT),
        "numpy integer": np.int64(NUMBER),
        "numpy float": np.float32(NUMBER),
        "numpy text": np.str_(TEXT),
        "numpy array": np.array([[float(NUMBER)] * 2]),
        "numpy objects": np.array([TEXT, None], dtype=object),
        "dict": {TEXT: TEXT},
        "nested dict": {"a": {"b": [TEXT, NUMBER]}},
        "bare vector": [float(NUMBER)] * DIMENSION,
        "short vector": [[float(NUMBER)]],
        "nested vector": [[[float(NUMBER)] * DIMENSION]],
        "vector of texts": [[TEXT] * DIMENSION],
        "vector of integers": [[NUMBER] * (DIMENSION + 1)],
        "set": {TEXT},
        "texts": [TEXT],
        "integers": [NUMBER],
        "pairs": [(TEXT, NUMBER)],
        "lambda": lambda: TEXT,
    }
    if find_spec("pandas") is not None:
        pandas: Any = import_module("pandas")
        values["Timestamp"] = pandas.Timestamp(day)
        values["DataFrame"] = pandas.DataFrame({"name": [TEXT]})
    return values
