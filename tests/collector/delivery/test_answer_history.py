"""A failure counts only between two acceptances."""

from __future__ import annotations

from sidelight.collector.delivery.answer_history import AnswerHistory
from sidelight.collector.delivery.blame import Part
from support.forwarding import traces

RECORD, OTHER = 1, 2


def part() -> Part:
    return Part(traces("a"))


def fail(answers: AnswerHistory, failing: Part, record: int = RECORD, *, is_suspect: bool) -> None:
    answers.failed(failing, record, answers.begin(), is_suspect=is_suspect)


def accept(answers: AnswerHistory) -> None:
    answers.accepted(answers.begin())


def test_a_failure_between_two_acceptances_is_a_strike() -> None:
    """Also the first one, with which it begins."""
    answers, bad = AnswerHistory(), part()
    accept(answers)
    fail(answers, bad, is_suspect=False)
    assert bad.strikes == 0
    accept(answers)
    assert bad.strikes == 1
    fail(answers, bad, is_suspect=True)
    accept(answers)
    assert bad.strikes == 2


def test_one_acceptance_is_not_enough() -> None:
    """Before it, everything may have failed."""
    answers, bad = AnswerHistory(), part()
    fail(answers, bad, is_suspect=False)
    accept(answers)
    assert bad.strikes == 0


def test_failures_in_a_row_are_one() -> None:
    """An outage is one event, however often the part is sent in it."""
    answers, bad = AnswerHistory(), part()
    accept(answers)
    for _ in range(5):
        fail(answers, bad, is_suspect=False)
    accept(answers)
    assert bad.strikes == 1


def test_an_outage_that_others_meet_is_no_strike() -> None:
    """It began after an acceptance and ended before the next, but not around the part alone."""
    answers, good, other = AnswerHistory(), part(), part()
    accept(answers)
    fail(answers, good, is_suspect=True)
    fail(answers, other, OTHER, is_suspect=False)
    accept(answers)
    assert good.strikes == 0


def test_suspects_leave_each_other_alone() -> None:
    """Bad items that take turns are all found out."""
    answers, bad, worse = AnswerHistory(), part(), part()
    accept(answers)
    for _ in range(3):
        fail(answers, bad, is_suspect=True)
        fail(answers, worse, OTHER, is_suspect=True)
        accept(answers)
    assert (bad.strikes, worse.strikes) == (3, 3)


def test_what_was_under_way_says_nothing_of_the_time_after() -> None:
    """An answer to a request that was sent before the failure, or that came after it was sent."""
    answers, good = AnswerHistory(), part()
    accept(answers)
    slow = answers.begin()
    fail(answers, good, is_suspect=True)
    answers.accepted(slow)
    assert good.strikes == 0
    accept(answers)
    assert good.strikes == 1

    later, early = AnswerHistory(), part()
    sent = later.begin()
    accept(later)
    later.failed(early, RECORD, sent, is_suspect=True)
    accept(later)
    assert early.strikes == 0


def test_who_else_fails() -> None:
    """Until something is accepted, or that record is done with."""
    answers = AnswerHistory()
    fail(answers, part(), is_suspect=False)
    assert answers.only_fails(RECORD)
    fail(answers, part(), OTHER, is_suspect=False)
    assert not answers.only_fails(RECORD)
    answers.forget_record(OTHER)
    assert answers.only_fails(RECORD)
    fail(answers, part(), OTHER, is_suspect=False)
    accept(answers)
    assert answers.only_fails(RECORD)


def test_what_is_done_with_gets_no_strike() -> None:
    """Its halves are judged for themselves."""
    answers, whole = AnswerHistory(), part()
    accept(answers)
    fail(answers, whole, is_suspect=True)
    answers.forget(whole)
    accept(answers)
    assert whole.strikes == 0
