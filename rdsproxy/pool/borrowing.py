"""Waiting for a connection as a Deferred."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred

from rdsproxy.backend.connection import DatabaseConnection, PoolKey
from rdsproxy.protocol.responses import Err
from rdsproxy.session.state import State


class BorrowError(Exception):
    """No connection can be lent. `err` is what the client is told."""

    def __init__(self, err: Err) -> None:
        super().__init__(err.message)
        self.err = err


class Waiter(Protocol):
    """Whoever waits for a connection. Waits for one at a time."""

    key: PoolKey
    """Of which key."""
    until: float
    """When it is refused, in reactor time. The pool that it waits in sets it."""

    def granted(self, connection: DatabaseConnection) -> None:
        """Take the connection; its `state` tells what it is set to."""

    def refused(self, err: Err) -> None:
        """There will be none."""

    def wait_again(self, deadline: float) -> None:
        """Wait elsewhere, until the same deadline (reactor time): the target waited for is lost."""


class Queue(Protocol):
    """Where connections are waited for: a pool, or a route to one."""

    granted: deque[tuple[Borrowing, DatabaseConnection]]
    """Borrowers about to be told; the first one is being told."""

    def wait(self, waiter: Waiter, key: PoolKey, state: State | None, deadline: float | None = None) -> None:
        """Lend `waiter` a connection, now or later, until `deadline`; None: for as long as the settings say."""

    def forget(self, waiter: Waiter) -> None:
        """Let a waiter go, if it waits."""


class Borrowing:
    """A waiter that is a Deferred: cancel it when the client has left, and it is forgotten."""

    def __init__(self, queue: Queue, key: PoolKey, state: State | None) -> None:
        self._queue = queue
        self.key = key
        self.until = 0.0
        self._state = state
        self._cancelled = False
        self.deferred: Deferred[DatabaseConnection] = Deferred(self._cancel)

    def _cancel(self, deferred: object) -> None:
        self._cancelled = True
        self._queue.forget(self)

    def granted(self, connection: DatabaseConnection) -> None:
        """Fire the Deferred."""
        # Many give the connection back at once, which grants it to the next: in a loop, or the stack would overflow.
        granted = self._queue.granted
        granted.append((self, connection))
        if len(granted) > 1:
            return
        while granted:
            borrowing, connection = granted[0]
            if borrowing._cancelled:
                # While it stood here: nobody else knows of the loan.
                connection.pool.give_back(connection)
            else:
                borrowing.deferred.callback(connection)
            granted.popleft()

    def refused(self, err: Err) -> None:
        """Fail the Deferred with BorrowError."""
        self.deferred.errback(BorrowError(err))

    def wait_again(self, deadline: float) -> None:
        """Wait in the same place, which knows another target by now, or will."""
        self._queue.wait(self, self.key, self._state, deadline)
