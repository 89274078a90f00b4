"""When those who wait for a connection are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall

Waiter = TypeVar("Waiter")
Place = TypeVar("Place")


class Deadlines(Generic[Waiter, Place]):
    """Each waiter's deadline, and where it waits. All wait equally long, so the first to come is the first to go."""

    __slots__ = ("_reactor", "_refuse", "alarm", "of")

    def __init__(self, reactor: Any, refuse: Callable[[Waiter], None]) -> None:
        self._reactor = reactor
        self._refuse = refuse
        """Called for a waiter whose time is over; it has to take it from here."""
        self.alarm: IDelayedCall | None = None
        """Goes off when the first one is to be refused; None: `arm` has to be called."""
        self.of: dict[Waiter, tuple[float, Place]] = {}
        """Deadlines in reactor time; the earliest first."""

    def arm(self) -> None:
        """See to it that those in `of` are refused, unless they are taken from there before."""
        if self.alarm is None and self.of:
            deadline, _ = next(iter(self.of.values()))
            self.alarm = self._reactor.callLater(max(0.0, deadline - self._reactor.seconds()), self._time_out)

    def _time_out(self) -> None:
        now = self._reactor.seconds()
        self.alarm = None
        while self.of:
            waiter, (deadline, _) = next(iter(self.of.items()))
            if deadline > now:
                self.arm()
                return
            self._refuse(waiter)

    def stop(self) -> None:
        """Refuse nobody any more."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
