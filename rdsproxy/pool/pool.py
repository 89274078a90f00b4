"""The connections to one target: opened, lent, taken back, closed."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import structlog
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.known import Known
from rdsproxy.backend.login import NO_SECRET, LoginError
from rdsproxy.backend.target import Facts
from rdsproxy.logging import log_unexpected
from rdsproxy.pool.assignment import Assignment
from rdsproxy.pool.borrowing import Borrowing, Waiter
from rdsproxy.pool.counts import Counts
from rdsproxy.pool.deadlines import Deadlines
from rdsproxy.pool.killing import KILL_FAILURES, Killer
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.spares import Spares
from rdsproxy.protocol.errors import AuthenticationError, ProtocolError
from rdsproxy.protocol.responses import Err
from rdsproxy.session.state import State, States

FIRST_LOGINS: Final = 2
"""Logins at a time at first: a server that has just become the writer is not to be run over."""
PARALLEL_LOGINS: Final = 8
"""Logins at a time at most; each that succeeds allows one more, up to here."""
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


class Pool:
    """Lends connections of one target. Nothing here is shared between pools."""

    __slots__ = (
        "__weakref__",
        "_books",
        "_deadlines",
        "_keys",
        "_left",
        "_limits",
        "_open",
        "_opening",
        "_reactor",
        "_retiring",
        "_retry",
        "_retry_after",
        "_scouts",
        "_seconds",
        "_stopped",
        "_suspended",
        "_sweep",
        "_timeout",
        "connector",
        "counts",
        "doubt",
        "facts",
        "follows_writer",
        "granted",
        "killer",
        "known",
        "spares",
        "take",
        "trouble",
    )

    def __init__(
        self,
        limits: Limits,
        connector: Connector,
        reactor: Any,
        known: Known | None = None,
        counts: Counts | None = None,
    ) -> None:
        self._limits = limits
        self._timeout = limits.borrow_timeout
        self.connector = connector
        self._reactor = reactor
        self._seconds: Callable[[], float] = reactor.seconds
        self._books: Assignment[PoolKey, DatabaseConnection, Waiter] = Assignment(1, FIRST_LOGINS)
        self.take = self._books.take
        """Lends an idle connection of a key that is in this very state, at once, or gives None."""
        self.spares = Spares(self._books, reactor)
        """Connections that their borrowers could give up."""
        self._deadlines: Deadlines[Waiter] = Deadlines(reactor, self._first_to_refuse, self._until, self._time_out)
        self.granted: deque[tuple[Borrowing, DatabaseConnection]] = deque()
        self.known = known or Known()
        """What is learned of the database, for whoever wants to know it."""
        self.facts: Facts | None = None
        """Of this pool's own target."""
        self.trouble: Callable[[], None] = _nothing
        """Called when a connection is lost or refused: the target may be in trouble."""
        self.doubt: Callable[[], None] = _nothing
        """Called when a statement has met with something that a failover begins with."""
        self.follows_writer = False
        """Its statements are for the writer, whichever target that is."""
        self._suspended = False
        self._left: Callable[[], None] | None = None
        self._opening: set[Deferred[DatabaseConnection]] = set()
        self._open: set[DatabaseConnection] = set()
        self._retiring: set[DatabaseConnection] = set()
        self.killer = Killer(self, connector, reactor)
        """Runs KILL on the target."""
        self.counts = counts or Counts()
        self._retry: IDelayedCall | None = None
        self._retry_after = FIRST_RETRY
        self._keys: Callable[[], Sequence[PoolKey]] = tuple
        self._scouts = 0
        # Not a LoopingCall: that would install the global reactor, which may be none of this one's.
        self._sweep: IDelayedCall | None = None
        self._stopped = False

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self, keys: Callable[[], Sequence[PoolKey]]) -> None:
        """Begin by opening one connection, which learns what the target is: of the first key that can log in.

        `keys` gives those that there are; it may be none yet.
        """
        self._sweep = self._reactor.callLater(CHECK_INTERVAL, self._check)
        self._keys = keys
        self._scout()

    def _scout(self) -> None:
        keys = self._keys()
        if not keys:
            self._back_off()
            return
        key = keys[self._scouts % len(keys)]
        self._scouts += 1
        self._books.begin_opening(key)
        self._open_one(key)

    def stop(self) -> None:
        """Close everything; whoever waits is told that it was in vain."""
        self._stopped = True
        self.counts.lent_at_once += self.lent_at_once
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._deadlines.stop()
        self.spares.stop()
        for waiter in self._books.all_waiters():
            self._fail(waiter, SHUTDOWN)
        self._stop_opening()
        self.killer.stop()
        for connection in list(self._open):
            connection.discard()
        for connection in list(self._retiring):
            connection.abort()

    def learned(self, key: PoolKey, facts: Facts, states: States) -> None:
        """Take what the first connection of a key has learned."""
        self.known.learned_key(key, states)
        if self.facts is None:
            self.facts = facts
            self._books.limit = self._limits.connections(facts.max_connections)
            _log.info(
                "target known",
                version=facts.version,
                max_connections=facts.max_connections,
                pool_limit=self._books.limit,
            )
            self.known.learned(facts)

    def prepared_statements(self, key: PoolKey) -> int:
        """Give how many prepared statements a connection of a known key may keep."""
        of_target = int(self.known.states[key].baseline.get(b"max_prepared_stmt_count", b"0"))
        return self._limits.prepared_statements(of_target, self._books.limit)

    def _stop_opening(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for opening in list(self._opening):
            opening.cancel()

    # -- lending -------------------------------------------------------------------------------------------------------

    def take_any(self, key: PoolKey) -> DatabaseConnection | None:
        """Lend an idle connection in whatever state, before all who wait."""
        return None if self._suspended else self._books.take_any(key)

    def take_this(self, key: PoolKey, connection: DatabaseConnection) -> bool:
        """Lend this very connection, if it is idle."""
        return not self._suspended and self._books.take_this(key, connection)

    # Has a twin in shortcut/lending.c.
    def wait(self, waiter: Waiter, key: PoolKey, state: State | None, deadline: float | None = None) -> None:
        """Lend `waiter` a connection, in `state` if one is idle, otherwise in any state.

        It is granted or refused now or later, but for a `forget`. `deadline`: when it is refused, in reactor time;
        None: after `connection_borrow_timeout`.
        """
        if deadline is not None:
            self._wait_until(waiter, key, state, deadline)
            return
        seconds = self._seconds
        waiter.until = seconds() + self._timeout
        if self._books.wait(key, waiter, state) or self._deadlines.alarm is None:
            self._serve_or_refuse(waiter)
        elif self.spares.due:
            self.spares.look()

    def _wait_until(self, waiter: Waiter, key: PoolKey, state: State | None, deadline: float) -> None:
        """Deal with a waiter that has waited elsewhere."""
        waiter.until = deadline
        self._books.wait(key, waiter, state)
        self._serve_or_refuse(waiter)
        if self._books.waits(key, waiter):
            self._deadlines.add(waiter)

    def _serve_or_refuse(self, waiter: Waiter) -> None:
        """Deal with a waiter that may be served at once, or is the first."""
        if self._stopped:
            self._fail(waiter, SHUTDOWN)
            return
        self._act()
        if self._books.waits(waiter.key, waiter):
            if self._timeout:
                self._deadlines.arm()
            else:
                self._fail(waiter, TIMED_OUT)

    def forget(self, waiter: Waiter) -> None:
        """Let a waiter go, if it waits."""
        if self._books.forget(waiter.key, waiter):
            self.counts.borrows_aborted += 1

    def borrow(self, key: PoolKey, state: State | None) -> Deferred[DatabaseConnection]:
        """Do as `wait`. Fails with BorrowError. Cancel it when the client has left: it is then forgotten."""
        borrowing = Borrowing(self, key, state)
        self.wait(borrowing, key, state)
        return borrowing.deferred

    # Has a twin in shortcut/lending.c.
    def give_back(self, connection: DatabaseConnection) -> None:
        """End a loan. The connection's `state` must be what it is set to."""
        connection.borrower = None
        if self._left is not None:
            self._books.gone(connection.key, connection)
            self._retire(connection, None)
            return
        # One with something that must be taken first fits nobody at once.
        state = None if connection.left is not None else connection.state
        following = self._books.give_back(connection.key, connection, state)
        if following is True:
            self._act()
        elif following is not False:
            self._grant(following, connection)

    # Has a twin in shortcut/lending.c.
    def _grant(self, waiter: Waiter, connection: DatabaseConnection) -> None:
        seconds = self._seconds
        self.counts.waits.note(seconds() - waiter.until + self._timeout)
        waiter.granted(connection)

    def _first_to_refuse(self) -> Waiter | None:
        # Of one key the first to come is the first to go: all wait equally long.
        return min(self._books.heads(), key=_until, default=None)

    def _until(self, waiter: Waiter) -> float | None:
        return waiter.until if self._books.waits(waiter.key, waiter) else None

    def _time_out(self, waiter: Waiter) -> None:
        self._fail(waiter, TIMED_OUT)

    def _fail(self, waiter: Waiter, err: Err) -> None:
        if err is TIMED_OUT:
            self.counts.borrows_timed_out += 1
        self.forget(waiter)
        waiter.refused(err)

    def recycle(self, connection: DatabaseConnection) -> Deferred[None]:
        """End a loan whose session has left something behind: clean the connection, or close it.

        Fires when one of both is done; to cancel it closes the connection.
        """
        connection.borrower = None
        if connection.targeted or self._left is not None:
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
        if self._stopped or self._left is not None:
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
            self._grant(waiter, connection)
        self.spares.look()

    # -- opening -------------------------------------------------------------------------------------------------------

    def _open_one(self, key: PoolKey) -> None:
        if self._stopped or self._left is not None:
            return
        opening = self.connector.connect(self, key, self._lost)
        self._opening.add(opening)
        opening.addCallback(self._opened, key)
        opening.addErrback(self._not_opened, key)
        opening.addBoth(lambda _: self._opening.discard(opening))

    def _opened(self, connection: DatabaseConnection, key: PoolKey) -> None:
        self._retry_after = FIRST_RETRY
        if 0 < self._books.opening_limit < PARALLEL_LOGINS:
            self._books.opening_limit += 1
        self._open.add(connection)
        self._books.opened(key, connection, connection.state)
        self._act()

    def _not_opened(self, failure: Failure, key: PoolKey) -> None:
        self._books.not_opened(key)
        if self._stopped or failure.check(CancelledError):
            return
        error = failure.value
        _log.warning("database connection failed", user=key.user, reason=failure.getErrorMessage())
        if isinstance(error, AuthenticationError) or (isinstance(error, LoginError) and error.is_denial):
            # Waiting would not help: this user's secret is not what the database has.
            err = NO_SECRET if isinstance(error, LoginError) and error.err is NO_SECRET else REFUSED
            for waiter in self._books.waiters(key):
                self._fail(waiter, err)
            if self.facts is not None:
                # One user's bad secret is no reason to hold back the others.
                self._act()
                return
        elif not failure.check(LoginError, ConnectionLostError, ProtocolError, ConnectError, ConnectionDone, OSError):
            log_unexpected(_log, failure)
        self.trouble()
        self._back_off()

    def _back_off(self) -> None:
        if self._retry is None:
            self._books.opening_limit = 0
            delay = self._retry_after * random.uniform(0.75, 1.25)
            self._retry_after = min(self._retry_after * 2, LAST_RETRY)
            self._retry = self._reactor.callLater(delay, self._again)

    def _again(self) -> None:
        self._retry = None
        self._books.opening_limit = FIRST_LOGINS
        if self.facts is None and not self._books.total:
            self._scout()
        self._act()

    # -- closing -------------------------------------------------------------------------------------------------------

    def discard(self, connection: DatabaseConnection) -> None:
        """End a loan of a connection that must not be used any more.

        If another session waits for what it has left there, it is closed once that is known.
        """
        left = connection.left
        if left is None or not left.asked or connection.lost:
            connection.discard()
            return
        connection.borrower = None
        deadline = self._reactor.callLater(STOP_TIMEOUT, connection.discard)

        def taken() -> None:
            if deadline.active():
                deadline.cancel()
            connection.discard()

        left.whens.append(taken)

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
            self.spares.forget(connection)
            self._books.gone(connection.key, connection)
            if why:
                _log.info("database connection lost", backend=connection.thread_id, reason=why)
                self.trouble()
            self._act()
            self._check_left()

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
            self._check_left()

        self._open.discard(connection)
        self._retiring.add(connection)
        # Its last session may yet ask for what it has left there.
        connection.ask_after_left([]).addBoth(lambda _: connection.retire(closed))

    # -- while the target is away, or has another role ---------------------------------------------------------------

    def suspend(self) -> None:
        """Lend nothing until `resume`. Those who wait do so elsewhere; loans go on."""
        self._suspended = True
        for waiter in sorted(self._books.all_waiters(), key=_until):
            # It goes on to wait, so nothing is counted.
            if self._books.forget(waiter.key, waiter):
                waiter.wait_again(waiter.until)
        self.spares.want_all(True)

    def resume(self) -> None:
        """End `suspend`."""
        self._suspended = False
        self.spares.want_all(False)

    def leave(self, then: Callable[[], None]) -> None:
        """Close idle connections now and the others when they are given back; call `then` when all are closed."""
        self._left = then
        self.suspend()
        self._stop_opening()
        for connection in list(self._books.idle()):
            self._books.gone(connection.key, connection)
            self._retire(connection, None)
        self._check_left()

    def cut(self, why: str) -> None:
        """End all loans: the target does not answer any more, or not as what it was."""
        for connection in list(self._open):
            connection.cut(why)
        for connection in list(self._retiring):
            connection.cut(why)

    def _check_left(self) -> None:
        if self._left is not None and not self._stopped and not self._open and not self._retiring:
            then = self._left
            self.stop()
            then()

    # -- what there is -------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Open connections, those being opened included."""
        return self._books.total

    def logged_in(self) -> Iterator[DatabaseConnection]:
        """Give the connections that the target has of this pool: on loan, idle, about to close, and the killer's."""
        yield from self._open
        yield from self._retiring
        yield from self.killer.own

    @property
    def limit(self) -> int | None:
        """How many connections there may be; None: not known yet."""
        return None if self.facts is None else self._books.limit

    @property
    def borrowed(self) -> int:
        """Connections on loan, or being cleaned after one."""
        return self._books.busy

    @property
    def load(self) -> float:
        """How much of what the target may be used for is used, those who wait included."""
        return (self._books.busy + self._books.waiting) / self._books.limit

    @property
    def waiting(self) -> int:
        """Clients that wait for a connection."""
        return self._books.waiting

    @property
    def lent_at_once(self) -> int:
        """How many loans there have been for which nobody had to wait."""
        return self._books.taken


def _until(waiter: Waiter) -> float:
    return waiter.until


def _nothing() -> None:
    pass
