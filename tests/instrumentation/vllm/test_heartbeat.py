"""How long work has been in hand without a step."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidelight import conventions as names
from sidelight.instrumentation.vllm.heartbeat import MAX_IN_HAND, RequestsInHand, step_age
from sidelight.instrumentation.vllm.records import REQUEST_ENDED
from support import asgi
from support.asgi import Receive, Send, reply
from support.observed_vllm import Observed
from support.vllm_application import QUESTION, answering, call


def test_no_work() -> None:
    """An idle engine is not late, however long ago its last step was."""
    assert step_age(1000.0, 10.0, None) == 0.0


def test_work_without_a_step() -> None:
    """An engine that stopped while idle is late from the moment a request came."""
    assert step_age(100.0, 10.0, 70.0) == 30.0
    assert step_age(100.0, None, 70.0) == 30.0


def test_a_step_is_a_sign_of_life() -> None:
    """A request may take long: each step starts the count again."""
    assert step_age(100.0, 99.5, 10.0) == 0.5


@given(st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.none() | st.floats(0, 1e6))
def test_never_negative(now: float, last_step: float | None, since: float | None) -> None:
    """Clock reads of several processes may be out of order."""
    assert 0.0 <= step_age(now, last_step, since) <= now


def test_the_oldest_request_in_hand() -> None:
    """Requests leave in any order; one that is over twice is over."""
    requests = RequestsInHand()
    assert requests.oldest() is None
    for number in range(3):
        requests.begin(number % 2, number, 10.0 + number)
    requests.end(0, 0)
    requests.end(0, 0)
    requests.end(0, 2)
    requests.end(7, None)
    assert requests.oldest() == 11.0
    requests.end(1, 1)
    assert requests.oldest() is None


def test_bounded() -> None:
    """A flood of requests that never end does not grow without end."""
    requests = RequestsInHand()
    for number in range(MAX_IN_HAND + 10):
        requests.begin(0, number, float(number))
    assert requests.oldest() == 10.0


def test_no_more_in_hand_than_the_server_has() -> None:
    """The oldest of one API server are over; those of another one are not touched."""
    requests = RequestsInHand()
    requests.begin(1, 0, 12.0)
    for number in range(3):
        requests.begin(0, number, 10.0 + number)
    requests.keep_newest(0, 1)
    assert requests.oldest() == 12.0
    requests.keep_newest(1, 0)
    requests.keep_newest(0, 0)
    assert requests.oldest() is None


def server_step_age(observed: Observed) -> float:
    """The gauge once all that is queued is processed."""
    observed.thread.process()
    (point,) = [
        point
        for point in observed.processing.data_points()
        if point.metric == names.SERVER_STEP_AGE
    ]
    assert isinstance(point.value, float)
    return point.value


def lose_end(observed: Observed) -> None:
    """Have the end of the last request dropped on its way."""
    *others, end = observed.queue.drain()
    assert end[0] == REQUEST_ENDED
    for record in others:
        observed.queue.put(record)


async def test_an_end_that_was_dropped(observed: Observed) -> None:
    """Such a request is not in hand for ever: the next that ends says how many there are."""
    observed.step()
    await call(observed, answering)
    lose_end(observed)
    assert server_step_age(observed) > 0.0
    await call(observed, answering)
    assert server_step_age(observed) == 0.0


async def test_an_end_that_was_dropped_last(observed: Observed) -> None:
    """Without another request, the count of dropped records says that it may be over."""
    observed.step()
    await call(observed, answering)
    lose_end(observed)
    assert server_step_age(observed) > 0.0
    observed.queue.dropped += 1
    assert server_step_age(observed) == 0.0


async def test_an_end_before_a_request_that_hangs(observed: Observed) -> None:
    """The end of one request does not take the next one, which is in the same batch of records."""
    observed.step()
    ages: list[float] = []

    async def hanging(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        ages.append(server_step_age(observed))
        await reply(send, b"{}")

    await call(observed, answering)
    await call(observed, hanging)
    assert ages[0] > 0.0
    assert server_step_age(observed) == 0.0


async def test_heartbeat_of_an_engine_that_stopped_while_idle(observed: Observed) -> None:
    """A request whose engine takes no step makes the server's heartbeat old; its end stops that."""
    observed.step()
    ages: list[float] = []

    async def hanging(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        server_step_age(observed)
        await asyncio.sleep(0.05)
        ages.append(server_step_age(observed))
        await reply(send, b"{}")

    assert server_step_age(observed) == 0.0
    await call(observed, hanging, QUESTION)
    assert ages[0] >= 0.05
    assert server_step_age(observed) == 0.0
