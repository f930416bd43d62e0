"""Which certificates follow which, over months, without a clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sidelight.injection.webhook.certificates.pair import Pair, make
from sidelight.injection.webhook.certificates.rotation import (
    KEYS,
    Certificates,
    Renewal,
    advanced,
    from_data,
    to_data,
)

START = datetime(2026, 11, 27, tzinfo=UTC)
RENEWAL = Renewal(("injector.monitoring.svc",), 90)


def after(
    stored: Certificates, days: float, *, trusted: bool = False, served: Pair | None = None
) -> Certificates:
    """The next state, so many days after the start."""
    now = START + timedelta(days=days)
    return advanced(stored, served, RENEWAL, next_is_trusted=trusted, now=now)


@pytest.fixture(scope="module")
def fresh() -> Certificates:
    """What is made for an empty Secret."""
    return after(Certificates(), 0)


def test_an_empty_secret_gets_a_pair(fresh: Certificates) -> None:
    """And nothing else is to be done until two thirds of its lifetime are over."""
    assert fresh.current is not None
    assert (fresh.next, fresh.previous_ca) == (None, b"")
    assert after(fresh, 59) == fresh


def test_a_rotation_has_an_overlap(fresh: Certificates) -> None:
    """Both authorities are trusted before the new pair is served, and after, until one expires."""
    assert fresh.current is not None
    announced = after(fresh, 61)
    assert announced.current == fresh.current
    assert announced.next is not None
    assert announced.authorities == (fresh.current.ca, announced.next.ca)
    # Until API servers trust it, it is not served.
    assert after(announced, 62) == announced
    renewed = after(announced, 62, trusted=True)
    assert renewed.current == announced.next
    assert renewed.authorities == (announced.next.ca, fresh.current.ca)
    assert after(renewed, 62, trusted=True) == renewed
    cleaned = after(renewed, 91)
    assert cleaned.authorities == (announced.next.ca,)


def test_a_rotation_that_nobody_finished_ends_before_the_expiry(fresh: Certificates) -> None:
    """The next pair is better than an expired one, trusted or not."""
    announced = after(fresh, 61)
    late = after(announced, 91)
    assert late.current == announced.next
    assert late.next is None


def test_a_secret_that_lost_its_content_gets_what_is_served(fresh: Certificates) -> None:
    """API servers trust that already."""
    assert after(Certificates(), 1, served=fresh.current) == fresh


@pytest.mark.parametrize("broken", [b"text", b""])
def test_a_broken_pair_is_replaced(fresh: Certificates, broken: bytes) -> None:
    """A person may have edited the Secret."""
    assert fresh.current is not None
    wrong = replace(fresh, current=replace(fresh.current, certificate=broken))
    assert after(wrong, 1).current not in (None, wrong.current)
    wrong = replace(
        fresh, current=None, next=replace(fresh.current, key=broken), previous_ca=broken
    )
    repaired = after(wrong, 1)
    assert repaired.next is None
    assert repaired.previous_ca == b""


def test_a_new_name_needs_a_new_pair(fresh: Certificates) -> None:
    """As after a release was renamed; the old authority stays for replicas that are still there."""
    assert fresh.current is not None
    renewal = Renewal(("other.monitoring.svc",), 90)
    renamed = advanced(fresh, fresh.current, renewal, next_is_trusted=False, now=START)
    assert renamed.current != fresh.current
    assert renamed.previous_ca == fresh.current.ca


def test_a_next_pair_that_is_broken_is_made_again(fresh: Certificates) -> None:
    """The current one is due, so it cannot wait."""
    other = make(RENEWAL.names, 90, START)
    broken = replace(fresh, next=replace(other, ca=b"text"))
    assert after(broken, 1).next is None
    assert after(broken, 61).next not in (None, broken.next)


def test_what_is_stored_is_read_again(fresh: Certificates) -> None:
    """All of it, under the documented keys."""
    announced = after(fresh, 61)
    renewed = after(announced, 62, trusted=True)
    for certificates in (fresh, announced, renewed, Certificates()):
        data = to_data(certificates)
        assert set(data) <= set(KEYS)
        assert from_data(data) == certificates


def test_data_that_is_no_base64_counts_as_missing(fresh: Certificates) -> None:
    """It cannot come from an API server, but from an object that is not one."""
    assert from_data({**to_data(fresh), "tls.key": "é"}) == Certificates()
