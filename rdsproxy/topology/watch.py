"""Look at one target again and again: in time, at once on trouble, and without believing one that comes and goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from rdsproxy.topology.health import REGISTERING, Health, State
from rdsproxy.topology.probe import Probe

FAST: Final = 0.1
"""Seconds between looks while something is missing: no writer, or this target has just come back."""
LATE: Final = 0.25
"""Seconds after which a look is late. A server that is well answers within milliseconds."""
_MEMORY: Final = 60.0
"""Seconds for which a loss counts against a target."""
_MOST: Final = 20
"""Looks in a row, at most, that have to be good before a target that keeps being lost is believed again."""


class Watch:
    """Keeps a target's health up to date.

    `told` gets what each look has shown, and whether nothing has happened since it began that asked for another one.
    """

    def __init__(
        self,
        probe: Probe,
        interval: float,
        in_haste: Callable[[], bool],
        told: Callable[[Health, bool], None],
        reactor: Any,
    ) -> None:
        self._probe = probe
        self._interval = interval
        self._in_haste = in_haste
        self._told = told
        self._reactor = reactor
        self._looking: Deferred[Health] | None = None
        self._again = False
        self.on_late: Callable[[], None] = _nothing
        """Called when a look has been under way for `LATE`: its target may have fallen silent."""
        self._late: IDelayedCall | None = None
        self._next: IDelayedCall | None = None
        self._losses: deque[float] = deque()
        self._good = 0
        self._was_available = False
        self._stopped = False
        probe.on_lost = self.poke

    def start(self) -> None:
        """Begin, with the first look now."""
        self.poke()

    def poke(self) -> None:
        """Look at once; if a look is under way, once more after it, since it may have seen things as they were."""
        if self._stopped:
            return
        if self._looking is not None:
            self._again = True
            return
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._looking = looking = self._probe.look()
        self._late = self._reactor.callLater(LATE, self._is_late)
        looking.addCallbacks(self._seen, self._ended)

    def _is_late(self) -> None:
        self._late = None
        self.on_late()

    def _answered(self) -> None:
        self._looking = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _seen(self, health: Health) -> None:
        self._answered()
        if self._stopped:
            return
        health = self._believe(health)
        fresh = not self._again
        self._schedule(FAST if self._in_haste() or self._good < self._needed() else self._interval)
        self._told(health, fresh)

    def _ended(self, failure: Failure) -> None:
        self._answered()
        failure.trap(CancelledError)

    def _schedule(self, delay: float) -> None:
        if self._again:
            self._again = False
            delay = 0.0
        self._next = self._reactor.callLater(delay, self._wake)

    def _wake(self) -> None:
        self._next = None
        self.poke()

    def hurry(self) -> None:
        """Do not wait longer than in haste: the next look was planned when there was time."""
        pending = self._next
        if pending is not None and pending.getTime() - self._reactor.seconds() > FAST:
            pending.reset(FAST)

    def _believe(self, health: Health) -> Health:
        """Damp: after each loss within a minute, one more good look in a row is asked for."""
        now = self._reactor.seconds()
        if health.state is not State.AVAILABLE:
            if self._was_available:
                self._losses.append(now)
            self._was_available = False
            self._good = 0
            return health
        while self._losses and self._losses[0] < now - _MEMORY:
            self._losses.popleft()
        self._good += 1
        if self._good < self._needed():
            return Health(REGISTERING.state, health.role, health.lag, health.reason, "it was lost several times lately")
        self._was_available = True
        return health

    def _needed(self) -> int:
        # The first loss costs nothing: a failover is one.
        return min(max(1, len(self._losses)), _MOST)

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._looking is not None:
            self._looking.cancel()
        self._probe.stop()


def _nothing() -> None:
    pass
