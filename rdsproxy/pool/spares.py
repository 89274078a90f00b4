"""Connections that nothing holds but a transaction in which nothing has been done: to be had back if others wait.

Their sessions begin it again on another connection. That costs more than to keep it, so it is not asked of one that has
begun a moment ago: most clients go on at once.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from rdsproxy.backend.connection import DatabaseConnection, PoolKey
from rdsproxy.pool.assignment import Assignment

GRACE: Final = 0.02  # seconds
_SOON: Final = 0.001  # seconds; reactors wake a little early


class Spares:
    """Who could give back a connection, longest idle first."""

    __slots__ = ("_all", "_books", "_reactor", "_timer", "due")

    def __init__(self, books: Assignment[PoolKey, DatabaseConnection, Any], reactor: Any) -> None:
        self._books = books
        self._reactor = reactor
        self.due: dict[DatabaseConnection, float] = {}
        """When each may be asked for, in reactor time. Some may be used by now: that shows when they are asked."""
        self._timer: IDelayedCall | None = None
        self._all = False

    def offer(self, connection: DatabaseConnection) -> None:
        """Note a connection whose borrower may be asked to give it up, until it runs its next statement."""
        self.due.pop(connection, None)
        self.due[connection] = self._reactor.seconds() + GRACE
        self.look()

    def forget(self, connection: DatabaseConnection) -> None:
        """Note that a connection is gone."""
        self.due.pop(connection, None)

    def look(self) -> None:
        """Have connections given up as soon as they may be, if somebody waits in vain, or all are wanted."""
        if self._timer is None and self.due and (self._all or self._books.short):
            due = next(iter(self.due.values()))
            self._timer = self._reactor.callLater(max(0.0, due - self._reactor.seconds()), self._take_back)

    def want_all(self, wanted: bool) -> None:
        """Have all given up, or only as many as others wait for: the database is about to move, or stays."""
        self._all = wanted
        self.look()

    def stop(self) -> None:
        """Ask for no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.due.clear()

    def _take_back(self) -> None:
        self._timer = None
        now = self._reactor.seconds() + _SOON
        while self._all or self._books.short:
            due = [connection for connection, time in self.due.items() if time <= now]
            if not due:
                break
            # One of a key that waits needs no login.
            connection = next((one for one in due if self._books.wants(one.key)), due[0])
            del self.due[connection]
            if connection.borrower is not None:
                connection.borrower.give_up(connection)
        self.look()
