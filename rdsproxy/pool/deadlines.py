"""When those who wait for a connection are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall

Waiter = TypeVar("Waiter")


class Deadlines(Generic[Waiter]):
    """Refuses whoever waits for too long. Those who wait, and until when, others know.

    `first` gives who is to be refused first, and when (reactor time). `refuse` is called for a waiter whose time is
    over; it has to see to it that it waits no more.
    """

    __slots__ = ("_first", "_reactor", "_refuse", "alarm")

    def __init__(
        self, reactor: Any, first: Callable[[], tuple[float, Waiter] | None], refuse: Callable[[Waiter], None]
    ) -> None:
        self._reactor = reactor
        self._first = first
        self._refuse = refuse
        self.alarm: IDelayedCall | None = None
        """Goes off when the first one is to be refused, or earlier; None: `arm` has to be called."""

    def arm(self) -> None:
        """See to it that those who wait are refused in time."""
        first = self._first() if self.alarm is None else None
        if first is not None:
            self.alarm = self._reactor.callLater(max(0.0, first[0] - self._reactor.seconds()), self._time_out)

    def _time_out(self) -> None:
        now = self._reactor.seconds()
        self.alarm = None
        while (first := self._first()) is not None:
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
