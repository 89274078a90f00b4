"""The connections to one target: opened, lent, taken back, closed."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any, Final, Protocol

import structlog
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.login import LoginError
from rdsproxy.backend.target import Facts
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.assignment import Assignment
from rdsproxy.pool.killing import KILL_FAILURES, Killer
from rdsproxy.pool.limits import Limits
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.responses import Err
from rdsproxy.session.state import State, States

PARALLEL_LOGINS: Final = 8
FIRST_RETRY: Final = 0.05  # seconds
LAST_RETRY: Final = 1.0
UNUSED: Final = 300.0  # seconds after which RDS Proxy counts a connection as idle
CHECK_INTERVAL: Final = 30.0
STOP_TIMEOUT: Final = 60.0  # seconds that a killed statement may take to stop, its rollback included

TIMED_OUT: Final = Err(9501, "HY000", "Timed-out waiting to acquire database connection")
SHUTDOWN: Final = Err(1053, "08S01", "Server shutdown in progress")
REFUSED: Final = Err(
    1045, "28000", "Access denied at the database: it refuses the user name and password of the proxy's secret"
)

_log = structlog.get_logger("rdsproxy.pool")


class BorrowError(Exception):
    """No connection can be lent. `err` is what the client is told."""

    def __init__(self, err: Err) -> None:
        super().__init__(err.message)
        self.err = err


class Connector(Protocol):
    """Opens connections to one target, and makes used ones like new."""

    def connect(
        self, pool: Pool, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> Deferred[DatabaseConnection]:
        """Open a connection; `on_lost` is told, once, when it is lost, and why."""

    def reset(self, connection: DatabaseConnection) -> Deferred[None]:
        """Make a connection forget its session, except for the schema."""

    def start_over(self, connection: DatabaseConnection) -> Deferred[None]:
        """Make a connection forget its session, its schema too."""


class Waiter(Protocol):
    """Whoever waits for a connection. Waits for one at a time."""

    def granted(self, connection: DatabaseConnection) -> None:
        """Take the connection; its `state` tells what it is set to."""

    def refused(self, err: Err) -> None:
        """There will be none."""


class _Borrowing:
    """A waiter that is a Deferred."""

    def __init__(self, pool: Pool) -> None:
        self._granted = pool.granted
        self.deferred: Deferred[DatabaseConnection] = Deferred(lambda _: pool.forget(self))

    def granted(self, connection: DatabaseConnection) -> None:
        # Many give the connection back at once, which grants it to the next: in a loop, or the stack would overflow.
        granted = self._granted
        granted.append((self.deferred, connection))
        if len(granted) > 1:
            return
        while granted:
            deferred, connection = granted[0]
            deferred.callback(connection)
            granted.popleft()

    def refused(self, err: Err) -> None:
        self.deferred.errback(BorrowError(err))


class Pool:
    """Lends connections of one target. Nothing here is shared between pools."""

    def __init__(self, limits: Limits, connector: Connector, reactor: Any) -> None:
        self._limits = limits
        self.connector = connector
        self._reactor = reactor
        self._books: Assignment[PoolKey, DatabaseConnection, Waiter] = Assignment(1, PARALLEL_LOGINS)
        self.take = self._books.take
        """Lends an idle connection of a key that is in this very state, at once, or gives None."""
        self._deadlines: dict[Waiter, tuple[float, PoolKey]] = {}
        """When each waiter is refused, in reactor time; the earliest first."""
        self._alarm: IDelayedCall | None = None
        self.granted: deque[tuple[Deferred[DatabaseConnection], DatabaseConnection]] = deque()
        """Borrowers about to be told; the first one is being told."""
        self.facts: Facts | None = None
        self.states: dict[PoolKey, States] = {}
        """Known once a connection of the key has been opened."""
        self.schemas: dict[PoolKey, set[bytes]] = {}
        """Schemas that users of the key have entered: known to exist and to be allowed."""
        self._facts_waiting: list[Deferred[Facts]] = []
        self._opening: set[Deferred[DatabaseConnection]] = set()
        self._open: set[DatabaseConnection] = set()
        self._retiring: set[DatabaseConnection] = set()
        self.killer = Killer(self, connector, reactor)
        """Runs KILL on the target."""
        self._retry: IDelayedCall | None = None
        self._retry_after = FIRST_RETRY
        self._scouts: Iterator[PoolKey] = iter(())
        # Not a LoopingCall: that would install the global reactor, which may be none of this one's.
        self._sweep: IDelayedCall | None = None
        self._stopped = False

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self, keys: Sequence[PoolKey]) -> None:
        """Begin by opening one connection, which learns what the target is: of the first key that can log in."""
        self._sweep = self._reactor.callLater(CHECK_INTERVAL, self._check)
        self._scouts = cycle(keys)
        self._scout()

    def _scout(self) -> None:
        key = next(self._scouts)
        self._books.begin_opening(key)
        self._open_one(key)

    def stop(self) -> None:
        """Close everything; whoever waits is told that it was in vain."""
        self._stopped = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for waiter in list(self._deadlines):
            self._fail(waiter, SHUTDOWN)
        for opening in list(self._opening):
            opening.cancel()
        self.killer.stop()
        for connection in list(self._open):
            connection.discard()
        for connection in list(self._retiring):
            connection.abort()
        waiting, self._facts_waiting = self._facts_waiting, []
        for deferred in waiting:
            deferred.cancel()

    def when_known(self) -> Deferred[Facts]:
        """Give the facts of the target as soon as there are any. Cancellable."""
        if self.facts is not None:
            known: Deferred[Facts] = Deferred()
            known.callback(self.facts)
            return known
        waiting: Deferred[Facts] = Deferred(self._facts_waiting.remove)
        self._facts_waiting.append(waiting)
        return waiting

    def learned(self, key: PoolKey, facts: Facts, states: States) -> None:
        """Take what the first connection of a key has learned."""
        self.states[key] = states
        self.schemas[key] = set()
        if self.facts is None:
            self.facts = facts
            self._books.limit = self._limits.connections(facts.max_connections)
            _log.info(
                "target known",
                version=facts.version,
                max_connections=facts.max_connections,
                pool_limit=self._books.limit,
            )
            waiting, self._facts_waiting = self._facts_waiting, []
            for deferred in waiting:
                deferred.callback(facts)

    def prepared_statements(self, key: PoolKey) -> int:
        """Give how many prepared statements a connection of a known key may keep."""
        of_target = int(self.states[key].baseline.get(b"max_prepared_stmt_count", b"0"))
        return self._limits.prepared_statements(of_target, self._books.limit)

    # -- lending -------------------------------------------------------------------------------------------------------

    def take_any(self, key: PoolKey) -> DatabaseConnection | None:
        """Lend an idle connection in whatever state, before all who wait."""
        return self._books.take_any(key)

    def take_this(self, key: PoolKey, connection: DatabaseConnection) -> bool:
        """Lend this very connection, if it is idle."""
        return self._books.take_this(key, connection)

    def wait(self, waiter: Waiter, key: PoolKey, state: State | None) -> None:
        """Lend `waiter` a connection, in `state` if one is idle, otherwise in any state.

        It is granted or refused now or later, but for a `forget`.
        """
        if self._stopped:
            waiter.refused(SHUTDOWN)
            return
        timeout = self._limits.borrow_timeout
        self._deadlines[waiter] = (self._reactor.seconds() + timeout, key)
        if self._books.wait(key, waiter, state):
            self._act()
        if waiter in self._deadlines:
            if not timeout:
                self._fail(waiter, TIMED_OUT)
            elif self._alarm is None:
                self._alarm = self._reactor.callLater(timeout, self._time_out)

    def forget(self, waiter: Waiter) -> None:
        """Let a waiter go, if it waits."""
        _, key = self._deadlines.pop(waiter, (0.0, None))
        if key is not None:
            self._books.forget(key, waiter)

    def borrow(self, key: PoolKey, state: State | None) -> Deferred[DatabaseConnection]:
        """Do as `wait`. Fails with BorrowError. Cancel it when the client has left: it is then forgotten."""
        borrowing = _Borrowing(self)
        self.wait(borrowing, key, state)
        return borrowing.deferred

    def give_back(self, connection: DatabaseConnection) -> None:
        """End a loan. The connection's `state` must be what it is set to."""
        connection.borrower = None
        # One with something that must be taken first fits nobody at once.
        state = None if connection.left is not None else connection.state
        following = self._books.give_back(connection.key, connection, state)
        if following is True:
            self._act()
        elif following is not False:
            del self._deadlines[following]
            following.granted(connection)

    def _time_out(self) -> None:
        """Refuse those who have waited long enough. All wait equally long, so one timer serves all."""
        now = self._reactor.seconds()
        self._alarm = None
        while self._deadlines:
            waiter, (deadline, _) = next(iter(self._deadlines.items()))
            if deadline > now:
                self._alarm = self._reactor.callLater(deadline - now, self._time_out)
                return
            self._fail(waiter, TIMED_OUT)

    def _fail(self, waiter: Waiter, err: Err) -> None:
        self.forget(waiter)
        waiter.refused(err)

    def recycle(self, connection: DatabaseConnection) -> Deferred[None]:
        """End a loan whose session has left something behind: clean the connection, or close it.

        Fires when one of both is done; to cancel it closes the connection.
        """
        connection.borrower = None
        if connection.targeted:
            # A KILL QUERY that is on its way must not hit whoever comes next.
            self.discard(connection)
        if connection.lost:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        connection.state = None
        cleaned = self.connector.reset(connection)

        def not_cleaned(failure: Failure) -> Failure | None:
            connection.discard()
            # Whoever cancelled it does not want to go on as if it were done.
            return failure if failure.check(CancelledError) else None

        cleaned.addCallbacks(lambda _: self.give_back(connection), not_cleaned)
        return cleaned

    def _act(self) -> None:
        if self._stopped:
            return
        plan = self._books.plan()
        opening = list(plan.open)
        for connection in plan.close:
            # The plan has taken it off the books. The server counts it until it has closed, so what takes its place is
            # opened then.
            self._retire(connection, opening.pop() if opening else None)
        for key in opening:
            self._open_one(key)
        for waiter, connection in plan.lend:
            del self._deadlines[waiter]
            waiter.granted(connection)

    # -- opening -------------------------------------------------------------------------------------------------------

    def _open_one(self, key: PoolKey) -> None:
        if self._stopped:
            return
        opening = self.connector.connect(self, key, self._lost)
        self._opening.add(opening)
        opening.addCallback(self._opened, key)
        opening.addErrback(self._not_opened, key)
        opening.addBoth(lambda _: self._opening.discard(opening))

    def _opened(self, connection: DatabaseConnection, key: PoolKey) -> None:
        self._retry_after = FIRST_RETRY
        self._open.add(connection)
        self._books.opened(key, connection, connection.state)
        self._act()

    def _not_opened(self, failure: Failure, key: PoolKey) -> None:
        self._books.not_opened(key)
        if self._stopped or failure.check(CancelledError):
            return
        error = failure.value
        _log.warning("database connection failed", user=key.user, reason=failure.getErrorMessage())
        if isinstance(error, AuthenticationError) or (isinstance(error, LoginError) and _is_denial(error.err)):
            # Waiting would not help: this user's secret is not what the database has.
            for waiter in self._books.waiters(key):
                self._fail(waiter, REFUSED)
            if self.facts is not None:
                # One user's bad secret is no reason to hold back the others.
                self._act()
                return
        elif not failure.check(LoginError, ConnectionLostError, ProtocolError, ConnectError, ConnectionDone, OSError):
            log_unexpected(_log, failure)
        self._back_off()

    def _back_off(self) -> None:
        if self._retry is None:
            self._books.opening_limit = 0
            delay = self._retry_after * random.uniform(0.75, 1.25)
            self._retry_after = min(self._retry_after * 2, LAST_RETRY)
            self._retry = self._reactor.callLater(delay, self._again)

    def _again(self) -> None:
        self._retry = None
        self._books.opening_limit = PARALLEL_LOGINS
        if self.facts is None and not self._books.total:
            self._scout()
        self._act()

    # -- closing -------------------------------------------------------------------------------------------------------

    def discard(self, connection: DatabaseConnection) -> None:
        """End a loan of a connection that must not be used any more."""
        connection.discard()

    def abandon(self, connection: DatabaseConnection) -> None:
        """End a loan in mid-statement: the server is told to stop, and nobody reads what it still says.

        Its place in the pool is free once the server has closed it.
        """
        connection.await_end(STOP_TIMEOUT)
        killed = self.killer.run(connection.key, b"KILL CONNECTION %d" % connection.thread_id)

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError, *KILL_FAILURES):
                log_unexpected(_log, failure)
            connection.discard()

        killed.addErrback(failed)

    def _lost(self, connection: DatabaseConnection, why: str) -> None:
        if connection in self._open:
            self._open.discard(connection)
            self._books.gone(connection.key, connection)
            if why:
                _log.info("database connection lost", backend=connection.thread_id, reason=why)
            self._act()

    def _check(self) -> None:
        self._sweep = self._reactor.callLater(CHECK_INTERVAL, self._check)
        self.close_unused()

    def close_unused(self) -> None:
        """Close the connections that nobody used for five minutes, down to `max_idle_connections_percent`."""
        if self.facts is None:
            return
        now = self._reactor.seconds()
        unused = []
        for connection in self._books.idle():
            if connection.used:
                # Noted here, not at each loan: the clock is not read for each query.
                connection.used = False
                connection.idle_since = now
            elif now - connection.idle_since >= UNUSED:
                unused.append(connection)
        unused.sort(key=lambda connection: connection.idle_since)
        keep = self._limits.idle_connections(self.facts.max_connections)
        for connection in unused[: max(0, len(unused) - keep)]:
            self._books.gone(connection.key, connection)
            self._retire(connection, None)

    def _retire(self, connection: DatabaseConnection, successor: PoolKey | None) -> None:
        """Close a connection that is off the books; once it is closed, open one of the key `successor`."""

        def closed() -> None:
            self._retiring.discard(connection)
            if successor is not None:
                self._open_one(successor)

        self._open.discard(connection)
        self._retiring.add(connection)
        # Its last session may yet ask for what it has left there.
        connection.ask_after_left([]).addBoth(lambda _: connection.retire(closed))

    # -- what there is -------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Open connections, those being opened included."""
        return self._books.total

    @property
    def waiting(self) -> int:
        """Clients that wait for a connection."""
        return self._books.waiting


def _is_denial(err: Err | None) -> bool:
    # ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_ACCESS_DENIED_NO_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN,
    # ER_ACCOUNT_HAS_BEEN_LOCKED
    return err is not None and err.code in (1044, 1045, 1698, 1862, 3118)
