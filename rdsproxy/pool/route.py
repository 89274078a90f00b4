"""Where the clients of one role borrow: from the pool of a target that has the role now, or, for a while, from none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from weakref import WeakSet

from twisted.internet.defer import Deferred

from rdsproxy.backend.connection import DatabaseConnection, PoolKey
from rdsproxy.backend.known import Known
from rdsproxy.pool.borrowing import BorrowError, Borrowing, Waiter
from rdsproxy.pool.counts import Counts
from rdsproxy.pool.deadlines import Deadlines
from rdsproxy.pool.pool import SHUTDOWN, TIMED_OUT, Pool
from rdsproxy.session.state import State


class Wait(Protocol):
    """How `Route.wait` is called."""

    def __call__(self, waiter: Waiter, key: PoolKey, state: State | None, deadline: float | None = None) -> None:
        """Lend `waiter` a connection, now or later."""


class Route:
    """Leads to the pools that `serve` has named. Without any, those who come wait here, in order."""

    __slots__ = (
        "_deadlines",
        "_held",
        "_led_to",
        "_pools",
        "_reactor",
        "_stopped",
        "_timeout",
        "counts",
        "granted",
        "known",
        "take",
        "wait",
    )

    def __init__(self, known: Known, counts: Counts, borrow_timeout: float, reactor: Any) -> None:
        self.known = known
        self.counts = counts
        self.take: Callable[[PoolKey, State | None], DatabaseConnection | None] = _nobody
        """Lends an idle connection of a key that is in this very state, at once, or gives None."""
        self.wait: Wait = self._hold
        """Lends a waiter a connection of a key, in this state if one is idle, otherwise in any.

        The waiter is granted or refused now or later, but for a `forget`. The last argument is when it is refused, in
        reactor time; None: after `connection_borrow_timeout`.
        """
        self.granted: deque[tuple[Borrowing, DatabaseConnection]] = deque()
        self._timeout = borrow_timeout
        self._reactor = reactor
        self._pools: tuple[Pool, ...] = ()
        self._led_to: WeakSet[Pool] = WeakSet()
        """Pools that someone may still wait in."""
        self._held: dict[Waiter | _Opening, tuple[float, tuple[PoolKey, State | None] | None]] = {}
        """Those who wait here, in order: until when (reactor time), and for what."""
        self._deadlines: Deadlines[Waiter | _Opening] = Deadlines(
            reactor, self._first_to_refuse, self._until, self._time_out
        )
        self._stopped = False

    def serve(self, pools: Sequence[Pool]) -> None:
        """Lead to these from here on, those who wait first. None: hold everyone."""
        self._pools = tuple(pools)
        self._led_to.update(pools)
        if not pools:
            self.take, self.wait = _nobody, self._hold
            return
        if len(pools) == 1:
            self.take, self.wait = pools[0].take, pools[0].wait
        else:
            self.take, self.wait = self._take, self._wait
        held = self._held
        while held and self._pools:
            # One by one: what the first ones do may end it all again.
            waiter = next(iter(held))
            deadline, place = held.pop(waiter)
            if isinstance(waiter, _Opening):
                waiter.opened.callback(None)
            elif place is not None:
                self.wait(waiter, *place, deadline)

    @property
    def is_open(self) -> bool:
        """A target has the role."""
        return bool(self._pools)

    @property
    def held(self) -> int:
        """How many wait here."""
        return len(self._held)

    def when_open(self) -> Deferred[None]:
        """Fire as soon as a target has the role. Fails with BorrowError after `connection_borrow_timeout`."""
        opening = _Opening(self)
        if self._pools:
            opening.opened.callback(None)
        else:
            self._hold(opening, None)
        return opening.opened

    def _wait(self, waiter: Waiter, key: PoolKey, state: State | None, deadline: float | None = None) -> None:
        min(self._pools, key=_load).wait(waiter, key, state, deadline)

    def _hold(
        self,
        waiter: Waiter | _Opening,
        key: PoolKey | None,
        state: State | None = None,
        deadline: float | None = None,
    ) -> None:
        if self._stopped:
            waiter.refused(SHUTDOWN)
            return
        until = self._reactor.seconds() + self._timeout if deadline is None else deadline
        self.counts.held += 1
        self._held[waiter] = (until, None if key is None else (key, state))
        if not self._timeout:
            self._time_out(waiter)
        elif deadline is None:
            self._deadlines.arm()
        else:
            self._deadlines.add(waiter)

    def _first_to_refuse(self) -> Waiter | _Opening | None:
        return next(iter(self._held), None)

    def _until(self, waiter: Waiter | _Opening) -> float | None:
        return self._held[waiter][0] if waiter in self._held else None

    def _time_out(self, waiter: Waiter | _Opening) -> None:
        del self._held[waiter]
        self.counts.borrows_aborted += 1
        self.counts.borrows_timed_out += 1
        waiter.refused(TIMED_OUT)

    def forget(self, waiter: Waiter | _Opening) -> None:
        """Let a waiter go, if it waits."""
        if self._held.pop(waiter, None) is not None:
            self.counts.borrows_aborted += 1
        elif not isinstance(waiter, _Opening):
            for pool in self._led_to:
                pool.forget(waiter)

    def borrow(self, key: PoolKey, state: State | None) -> Deferred[DatabaseConnection]:
        """Do as `wait`. Fails with BorrowError. Cancel it when the client has left: it is then forgotten."""
        borrowing = Borrowing(self, key, state)
        self.wait(borrowing, key, state)
        return borrowing.deferred

    def _take(self, key: PoolKey, state: State | None) -> DatabaseConnection | None:
        """Lend from the pool that is used least of those that have a fitting connection."""
        for pool in sorted(self._pools, key=_load):
            connection = pool.take(key, state)
            if connection is not None:
                return connection
        return None

    def stop(self) -> None:
        """Refuse all who wait."""
        self._stopped = True
        self.serve(())
        self._deadlines.stop()
        for waiter in list(self._held):
            if self._held.pop(waiter, None) is not None:
                waiter.refused(SHUTDOWN)


class _Opening:
    """Waits for a route to be open, not for a connection."""

    def __init__(self, route: Route) -> None:
        self.opened: Deferred[None] = Deferred(lambda _: route.forget(self))

    def refused(self, err: Any) -> None:
        """It was not in time."""
        self.opened.errback(BorrowError(err))


def _nobody(key: PoolKey, state: State | None) -> None:
    return None


def _load(pool: Pool) -> float:
    return pool.load
