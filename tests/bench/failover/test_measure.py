"""What is made of a run."""

import pytest

from tests.bench.failover.events import Moments
from tests.bench.failover.measure import BEFORE, summarise
from tests.failover.bank import Tally
from tests.failover.idle import IdleOutcome
from tests.failover.timeline import Event, Timeline

IDLE = IdleOutcome()
NOTHING = Tally(0, 0)


def writes(*moments: float) -> list[Event]:
    return [Event(moment - 0.01, moment, "insert") for moment in moments]


def steps(start: float, end: float) -> list[float]:
    return [start + 0.1 * number for number in range(round((end - start) / 0.1))]


def test_the_first_write_may_have_begun_before_the_promotion() -> None:
    held = Event(10.1, 11.3, "commit")
    line = Timeline([*writes(*steps(8, 10)), held, *writes(*steps(11.4, 13))])
    sample = summarise(0, [line], Moments(10.0, 11.2), IDLE, NOTHING)
    assert sample.first_write == pytest.approx(0.1)
    assert sample.outage == pytest.approx(1.4)
    assert sample.marks == {"event": 0.0, "promotion": pytest.approx(1.2)}


def test_without_any_write_there_is_no_first_one_and_the_outage_lasts_to_the_end() -> None:
    failing = [Event(10.1 + 0.5 * number, 10.6 + 0.5 * number, "connect", 2003) for number in range(10)]
    sample = summarise(0, [Timeline([*writes(*steps(8, 10)), *failing])], Moments(10.0, 11.2), IDLE, NOTHING)
    assert sample.first_write is None
    assert sample.outage == pytest.approx(15.1 - 9.9)
    assert sample.refused == 10


def test_what_was_before_does_not_count() -> None:
    early = Event(8.0, 8.5, "insert", 1290, "HY000", dropped=True)
    sample = summarise(0, [Timeline([early, *writes(*steps(9, 12))])], Moments(10.0), IDLE, NOTHING)
    assert (sample.errors, sample.dropped) == ({}, 0)
    assert sample.outage == pytest.approx(0.1)


def test_errors_are_told_apart_by_code_and_by_whether_they_were_in_a_transaction() -> None:
    line = Timeline(
        [
            *writes(9.5),
            Event(10.0, 10.1, "update", 1213, "40001"),
            Event(10.1, 10.2, "insert", 2013, "", dropped=True),
            Event(10.2, 10.3, "begin", 2013, "", dropped=True),
            *writes(10.5),
        ]
    )
    sample = summarise(0, [line, line], Moments(10.0), IdleOutcome([1, 2], ["changed"]), Tally(3, 4))
    assert sample.errors == {"1213 40001": 2, "2013 no SQLSTATE": 4}
    assert (sample.outside, sample.dropped) == (4, 2)
    assert (sample.idle_dropped, sample.idle_changed, sample.lost, sample.doubled) == (2, 1, 3, 4)


def test_writes_are_counted_in_tenths_of_seconds_until_the_first_client_stops() -> None:
    one, other = writes(9.05, 9.15, 9.16, 10.05, 11.25), writes(9.05, 10.95, 12.05)
    sample = summarise(0, [Timeline(one), Timeline(other)], Moments(10.0), IDLE, NOTHING)
    assert BEFORE == 1.0
    assert sample.writes == [2, 2, *[0] * 8, 1, *[0] * 8, 1, 0, 0]
