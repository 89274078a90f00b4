"""When a target is looked at, and when it is believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rdsproxy.topology.health import Health, Reason, Role, State
from rdsproxy.topology.watch import FAST, LATE, Watch

WELL = Health(State.AVAILABLE, Role.READ_WRITE)
ILL = Health(State.UNAVAILABLE, reason=Reason.UNREACHABLE)


class Probe:
    """Looks that the test answers."""

    def __init__(self) -> None:
        self.looks: list[Deferred[Health]] = []
        self.count = 0
        self.on_lost: Callable[[], None] = lambda: None

    def look(self) -> Deferred[Health]:
        self.count += 1
        self.looks.append(Deferred())
        return self.looks[-1]

    def stop(self) -> None:
        """Nothing to close."""


class Bench:
    """A watch with an interval of one second."""

    def __init__(self, *, haste: bool = False) -> None:
        self.clock = Clock()
        self.probe = Probe()
        self.haste = haste
        self.told: list[tuple[Health, bool]] = []
        probe: Any = self.probe
        self.watch = Watch(
            probe, 1.0, lambda: self.haste, lambda health, fresh: self.told.append((health, fresh)), self.clock
        )
        self.watch.start()

    def see(self, health: Health) -> Health:
        """Answer the look under way; give what is told of it."""
        self.probe.looks.pop(0).callback(health)
        return self.told[-1][0]

    def next(self, health: Health) -> Health:
        """Wait for the next look, and answer it."""
        self.clock.advance(self.clock.getDelayedCalls()[0].getTime() - self.clock.seconds())
        return self.see(health)


def test_a_look_at_once_and_then_in_time() -> None:
    bench = Bench()
    assert bench.see(WELL) == WELL
    bench.clock.advance(0.99)
    assert bench.probe.count == 1
    bench.clock.advance(0.01)
    assert bench.probe.count == 2


def test_a_look_that_is_late() -> None:
    bench = Bench()
    late: list[float] = []
    bench.watch.on_late = lambda: late.append(bench.clock.seconds())
    bench.clock.advance(LATE / 2)
    bench.see(WELL)
    bench.clock.advance(1.0)
    assert not late, "it was in time"
    bench.clock.advance(LATE)
    assert late == [LATE / 2 + 1.0 + LATE]
    bench.clock.advance(10 * LATE)
    assert len(late) == 1, "told once"
    bench.see(WELL)
    bench.watch.stop()
    assert not bench.clock.getDelayedCalls()


def test_more_often_in_haste() -> None:
    bench = Bench(haste=True)
    bench.see(ILL)
    bench.clock.advance(FAST)
    assert bench.probe.count == 2


def test_haste_that_begins_between_two_looks() -> None:
    bench = Bench()
    bench.see(WELL)
    bench.watch.hurry()
    bench.clock.advance(FAST)
    assert bench.probe.count == 2


def test_trouble_is_looked_at_at_once() -> None:
    bench = Bench()
    bench.see(WELL)
    bench.watch.poke()
    assert bench.probe.count == 2
    assert bench.see(ILL) == ILL


def test_a_look_that_began_before_the_trouble_is_followed_by_another() -> None:
    bench = Bench()
    bench.watch.poke()
    bench.see(WELL)
    assert bench.told == [(WELL, False)]
    bench.clock.advance(0)
    bench.see(ILL)
    assert bench.told[-1] == (ILL, True)


def test_the_monitors_lost_connection_is_trouble() -> None:
    bench = Bench()
    bench.see(WELL)
    bench.probe.on_lost()
    assert bench.probe.count == 2


def test_one_loss_costs_nothing() -> None:
    bench = Bench()
    bench.see(WELL)
    assert bench.next(ILL) == ILL
    assert bench.next(WELL) == WELL


def test_a_target_that_comes_and_goes_has_to_answer_more_often() -> None:
    bench = Bench()
    bench.see(WELL)
    needed = []
    for _ in range(4):
        bench.next(ILL)
        looks = 1
        while bench.next(WELL).state is not State.AVAILABLE:
            looks += 1
        needed.append(looks)
    assert needed == [1, 2, 3, 4]
    assert bench.clock.seconds() < 10


def test_losses_are_forgotten() -> None:
    bench = Bench()
    bench.see(WELL)
    for _ in range(2):
        bench.next(ILL)
        while bench.next(WELL).state is not State.AVAILABLE:
            pass
    for _ in range(61):
        bench.next(WELL)
    bench.next(ILL)
    assert bench.next(WELL) == WELL


def test_after_the_end_nothing_is_looked_at_or_told() -> None:
    for answered in (False, True):
        bench = Bench()
        if answered:
            bench.see(WELL)
        told = len(bench.told)
        bench.watch.stop()
        bench.watch.poke()
        bench.clock.advance(10)
        assert bench.probe.count == 1
        assert len(bench.told) == told
        assert bench.clock.getDelayedCalls() == []
