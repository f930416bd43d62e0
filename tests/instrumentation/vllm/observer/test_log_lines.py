"""Lines of the observer process, on their way to vLLM's log."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from sidelight.instrumentation.vllm.logger import logger
from sidelight.instrumentation.vllm.observer.log_lines import (
    MAX_MESSAGE_CHARACTERS,
    LineSender,
    log_line,
)
from sidelight.instrumentation.vllm.records import RecordDecoder
from support.logged import records_of


class Kept(logging.Handler):
    """Keeps the messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.messages.append(record.getMessage())


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connections of two API servers, each with its far end."""
    pairs = [socket.socketpair() for _ in range(2)]
    yield pairs
    for pair in pairs:
        for end in pair:
            end.close()


def line(message: str, *args: object) -> logging.LogRecord:
    return logger.makeRecord(logger.name, logging.WARNING, "/x/exporter.py", 7, message, args, None)


def test_one_api_server_gets_a_line(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """The first that takes it; without any, it is written as before."""
    otherwise = Kept()
    sender = LineSender(lambda: [near for near, _ in pairs], otherwise)
    sender.handle(line("one %s", "100%"))
    received = pairs[0][1].recv(65_536)
    assert [*RecordDecoder().feed(received)] == [(30, "/x/exporter.py", 7, "one 100%")]
    pairs[0][1].close()
    sender.handle(line("x" * 10_000))
    ((*_, message),) = RecordDecoder().feed(pairs[1][1].recv(65_536))
    assert message == "x" * MAX_MESSAGE_CHARACTERS
    assert otherwise.messages == []
    pairs[1][1].close()
    sender.handle(line("nobody"))
    assert otherwise.messages == ["nobody"]


def test_an_api_server_that_does_not_read(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """It does not block, and each line is sent whole or not at all."""
    otherwise = Kept()
    sender = LineSender(lambda: [pairs[0][0]], otherwise)
    count = 0
    while not otherwise.messages:
        sender.handle(line("x" * MAX_MESSAGE_CHARACTERS))
        count += 1
    decoder, taken = RecordDecoder(), 0
    pairs[0][0].close()
    while received := pairs[0][1].recv(65_536):
        taken += len([*decoder.feed(received)])
    assert taken == count - 1 > 10


def test_the_level_and_form_are_those_of_vllm(caplog: pytest.LogCaptureFixture) -> None:
    """A line is logged as one of the API server, if its level is wanted there."""
    record = (logging.WARNING, "/x/exporter.py", 7, "Sidelight: 100% of it")
    with caplog.at_level(logging.ERROR, logger=logger.name):
        log_line(record)
    assert records_of(caplog) == []
    with caplog.at_level(logging.INFO, logger=logger.name):
        log_line(record)
    (logged,) = records_of(caplog)
    assert (logged.name, logged.levelno, logged.filename, logged.lineno, logged.getMessage()) == (
        "vllm.sidelight", logging.WARNING, "exporter.py", 7, "Sidelight: 100% of it",
    )  # fmt: skip
