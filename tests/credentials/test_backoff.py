"""One turn at a time, pauses that grow, and how soon a refusal is looked into."""

from __future__ import annotations

from itertools import pairwise

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rdsproxy.credentials.backoff import FIRST_PAUSE, LAST_PAUSE, PATIENCE, WAKE, Backoff, Doubts
from rdsproxy.credentials.turns import Turns


class Work:
    """Turns that end when the test says so."""

    def __init__(self) -> None:
        self.turns: list[Deferred[None]] = []

    def __call__(self) -> Deferred[None]:
        self.turns.append(Deferred())
        return self.turns[-1]


def test_there_is_one_turn_at_a_time_and_one_more_for_all_who_came_later() -> None:
    work = Work()
    turns = Turns(work)
    done: list[str] = []
    turns.ask().addCallback(lambda _: done.append("first"))
    turns.ask().addCallback(lambda _: done.append("second"))
    turns.ask().addCallback(lambda _: done.append("third"))
    assert len(work.turns) == 1
    work.turns[0].callback(None)
    assert done == ["first"]
    assert len(work.turns) == 2
    work.turns[1].callback(None)
    assert done == ["first", "second", "third"]
    assert len(work.turns) == 2


def test_who_asks_at_the_end_of_a_turn_gets_another() -> None:
    work = Work()
    turns = Turns(work)
    turns.ask().addCallback(lambda _: turns.ask())
    work.turns[0].callback(None)
    assert len(work.turns) == 2


def test_who_does_not_wait_any_more_does_not_stop_the_turn() -> None:
    work = Work()
    turns = Turns(work)
    failures: list[Failure] = []
    asked = turns.ask()
    asked.addErrback(failures.append)
    asked.cancel()
    assert failures[0].check(CancelledError)
    for turn in list(work.turns):
        turn.callback(None)


def test_pauses_double_and_differ() -> None:
    for _ in range(20):
        backoff = Backoff(1.0, 30.0)
        for expected in (1, 2, 4, 8, 16, 30, 30):
            assert expected * 0.75 <= backoff.next() <= expected * 1.25
        backoff.reset()
        assert backoff.next() <= 1.25
    assert len({Backoff(1.0, 30.0).next() for _ in range(10)}) > 1


class Bench:
    """Refusals, a clock, and looks that the test ends."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.looks: list[Deferred[bool]] = []
        self.doubts = Doubts(self.look, self.clock)
        self.answered = 0
        self.found: bool | None = None
        """What looks find at once; None: they take until the test ends them."""

    def look(self) -> Deferred[bool]:
        self.looks.append(Deferred() if self.found is None else succeed(self.found))
        return self.looks[-1]

    def refuse(self) -> Deferred[None]:
        def answered(_: None) -> None:
            self.answered += 1

        return self.doubts.raised().addCallback(answered)


def test_a_refusal_is_looked_into_at_once() -> None:
    bench = Bench()
    bench.refuse()
    assert (len(bench.looks), bench.answered) == (1, 0)
    bench.looks[0].callback(True)
    assert bench.answered == 1
    assert not bench.clock.getDelayedCalls()


def test_the_next_one_waits_for_the_pause() -> None:
    bench = Bench()
    bench.refuse()
    bench.looks[0].callback(True)
    bench.refuse()
    assert len(bench.looks) == 1
    bench.clock.advance(FIRST_PAUSE * 1.25)
    assert len(bench.looks) == 2


def test_looks_that_find_nothing_become_rare_and_nobody_waits_for_them() -> None:
    bench = Bench()
    looked_at = []
    for refused in range(1, 1001):
        bench.refuse()
        bench.clock.advance(1)
        if not bench.looks[-1].called:
            looked_at.append(bench.clock.seconds())
            bench.looks[-1].callback(False)
        if refused > 10:
            assert bench.answered >= refused - 1
    assert len(looked_at) < 1000 / LAST_PAUSE * 2
    assert all(later - earlier >= LAST_PAUSE * 0.75 - 1 for earlier, later in pairwise(looked_at[-10:]))


@pytest.mark.parametrize("at_once", [True, False])
def test_who_waits_for_the_same_moment_shares_a_look(at_once: bool) -> None:
    bench = Bench()
    bench.refuse()
    bench.looks[0].callback(False)
    if at_once:
        bench.found = False
    bench.refuse()
    bench.clock.advance(FIRST_PAUSE * 0.5)
    bench.refuse()
    bench.clock.advance(FIRST_PAUSE)
    assert len(bench.looks) == 2
    if not at_once:
        bench.looks[1].callback(False)
    assert (len(bench.looks), bench.answered) == (2, 3)


def test_others_who_are_refused_for_the_same_change_are_no_sign_of_a_wrong_password() -> None:
    bench = Bench()
    bench.refuse()
    bench.looks[0].callback(True)
    for _ in range(3):
        bench.refuse()
        bench.clock.advance(FIRST_PAUSE * 1.25)
        bench.looks[-1].callback(False)
    assert bench.clock.seconds() < 1000 + WAKE
    looks = len(bench.looks)
    bench.refuse()
    bench.clock.advance(FIRST_PAUSE * 1.25)
    assert len(bench.looks) == looks + 1


def test_a_store_that_does_not_answer_is_not_waited_for() -> None:
    bench = Bench()
    bench.refuse()
    bench.clock.advance(PATIENCE)
    assert bench.answered == 1
    assert not bench.clock.getDelayedCalls()
    bench.looks[0].callback(True)


def test_who_leaves_leaves_nothing_behind() -> None:
    bench = Bench()
    bench.refuse()
    bench.looks[0].callback(True)
    waiting = bench.refuse()
    failures: list[Failure] = []
    waiting.addErrback(failures.append)
    waiting.cancel()
    assert failures[0].check(CancelledError)
    assert not bench.clock.getDelayedCalls()
    assert len(bench.looks) == 1
