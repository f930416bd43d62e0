"""How long work has been in hand without a step."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidelight import conventions as names
from sidelight.instrumentation.vllm.heartbeat import MAX_IN_HAND, RequestsInHand, step_age
from support import asgi
from support.asgi import Receive, Send, reply
from support.observed_vllm import Observed
from support.vllm_application import QUESTION, call


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
        requests.begin(number, 10.0 + number)
    requests.end(0)
    requests.end(0)
    requests.end(2)
    assert requests.oldest() == 11.0
    requests.end(1)
    assert requests.oldest() is None


def test_bounded() -> None:
    """A flood of requests that never end does not grow without end."""
    requests = RequestsInHand()
    for number in range(MAX_IN_HAND + 10):
        requests.begin(number, float(number))
    assert requests.oldest() == 10.0


async def test_heartbeat_of_an_engine_that_stopped_while_idle(observed: Observed) -> None:
    """A request whose engine takes no step makes the server's heartbeat old; its end stops that."""
    observed.step()
    ages: list[float] = []

    def age() -> float:
        observed.thread.process()
        (point,) = [
            point
            for point in observed.processing.data_points()
            if point.metric == names.SERVER_STEP_AGE
        ]
        assert isinstance(point.value, float)
        return point.value

    async def hanging(_: Any, receive: Receive, send: Send) -> None:
        await asgi.read(receive)
        age()
        await asyncio.sleep(0.05)
        ages.append(age())
        await reply(send, b"{}")

    assert age() == 0.0
    await call(observed, hanging, QUESTION)
    assert ages[0] >= 0.05
    assert age() == 0.0
