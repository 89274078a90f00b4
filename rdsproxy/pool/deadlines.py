"""When those who wait for a connection are refused."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall

Waiter = TypeVar("Waiter")


class Deadlines(Generic[Waiter]):
    """Refuses whoever waits for too long. Those who wait, and until when, others know.

    `first` gives who is to be refused first, of those who wait for the whole time; whoever began to wait elsewhere has
    to be told with `add`. `until` gives when one is to be refused (reactor time), None if it waits no more. `refuse` is
    called for a waiter whose time is over; it has to see to it that it waits no more.
    """

    __slots__ = ("_added", "_first", "_number", "_reactor", "_refuse", "_until", "alarm")

    def __init__(
        self,
        reactor: Any,
        first: Callable[[], Waiter | None],
        until: Callable[[Waiter], float | None],
        refuse: Callable[[Waiter], None],
    ) -> None:
        self._reactor = reactor
        self._first = first
        self._until = until
        self._refuse = refuse
        self._added: list[tuple[float, int, Waiter]] = []
        """A heap of those told with `add`; they may wait no more, or again."""
        self._number = count()
        self.alarm: IDelayedCall | None = None
        """Goes off when the first one is to be refused, or earlier; None: `arm` has to be called."""

    def add(self, waiter: Waiter) -> None:
        """See to it that one is refused in time whose time may be over before that of those who came before it."""
        until = self._until(waiter)
        assert until is not None
        heappush(self._added, (until, next(self._number), waiter))
        if self.alarm is None:
            self.arm()
        elif until < self.alarm.getTime():
            self.alarm.reset(self._seconds_to(until))

    def arm(self) -> None:
        """See to it that those who wait are refused in time."""
        if self.alarm is None and (first := self._next()) is not None:
            self.alarm = self._reactor.callLater(self._seconds_to(first[0]), self._time_out)

    def _seconds_to(self, until: float) -> float:
        return max(0.0, until - float(self._reactor.seconds()))

    def _next(self) -> tuple[float, Waiter] | None:
        added = self._added
        while added and self._until(added[0][2]) != added[0][0]:
            heappop(added)
        first = self._first()
        if first is None:
            return None
        until = self._until(first)
        assert until is not None
        if added and added[0][0] < until:
            return added[0][0], added[0][2]
        return until, first

    def _time_out(self) -> None:
        now = self._reactor.seconds()
        self.alarm = None
        while (first := self._next()) is not None:
            deadline, waiter = first
            if deadline > now:
                self.arm()
                return
            self._refuse(waiter)

    def stop(self) -> None:
        """Refuse nobody any more."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
