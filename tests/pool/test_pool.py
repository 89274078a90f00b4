"""The pool with a clock of its own and a database that answers when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection, PoolKey
from rdsproxy.backend.login import LoginError
from rdsproxy.backend.target import Facts
from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.pool.durations import BOUNDS
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import FIRST_RETRY, Pool
from rdsproxy.protocol.errors import AuthenticationError
from rdsproxy.protocol.responses import Err
from rdsproxy.session.state import State, States
from rdsproxy.session.statements import Lexers
from rdsproxy.wire import Wires
from tests.transports import ClosingTransport

APP = PoolKey("app", found_rows=False)
OTHER = PoolKey("other", found_rows=False)
TIMEOUT = 120.0
DENIED = LoginError("refused", Err(1045, "28000", "Access denied for user 'app'@'10.0.0.7'"))


@dataclass
class Opening:
    """A connection that the pool has asked for."""

    connector: Database
    pool: Pool
    key: PoolKey
    on_lost: Callable[[DatabaseConnection, str], None]
    asked: Deferred[DatabaseConnection]
    at: float

    def succeed(self) -> DatabaseConnection:
        """The database lets it in."""
        self.connector.openings.remove(self)
        clock = self.connector.clock
        connection = DatabaseConnection(self.connector.wires, self.key, clock.seconds(), self.on_lost)
        connection.makeConnection(ClosingTransport(connection, clock))  # type: ignore[no-untyped-call]
        connection.logged_in()
        if self.pool.facts is None or self.key not in self.pool.known.states:
            self.pool.learned(self.key, self.connector.facts, self.connector.states)
        connection.pool = self.pool
        connection.states = self.connector.states
        connection.state = self.connector.states.fresh
        self.connector.open.append(connection)
        self.asked.callback(connection)
        return connection

    def fail(self, error: Exception) -> None:
        """The database does not."""
        self.connector.openings.remove(self)
        self.asked.errback(error)


class Database:
    """A connector; the test decides what becomes of each opening and each cleaning."""

    def __init__(self, clock: Clock, max_connections: int) -> None:
        self.clock = clock
        self.wires = Wires(None, clock)
        self.facts = Facts(
            version="10.11.6-MariaDB",
            capabilities=0,
            collation=45,
            max_connections=max_connections,
            max_allowed_packet=1 << 24,
            tracked=b"*",
            collations={},
            defaults={},
        )
        self.states = States({}, {}, Lexers())
        self.openings: list[Opening] = []
        self.asked: list[float] = []
        self.cancelled = 0
        self.open: list[DatabaseConnection] = []
        self.cleanings: list[tuple[DatabaseConnection, Deferred[None]]] = []

    def connect(
        self, pool: Pool, key: PoolKey, on_lost: Callable[[DatabaseConnection, str], None]
    ) -> Deferred[DatabaseConnection]:
        def cancel(_: object) -> None:
            self.cancelled += 1
            self.openings.remove(opening)

        opening = Opening(self, pool, key, on_lost, Deferred(cancel), self.clock.seconds())
        self.openings.append(opening)
        self.asked.append(self.clock.seconds())
        return opening.asked

    def reset(self, connection: DatabaseConnection) -> Deferred[None]:
        cleaned: Deferred[None] = Deferred()
        self.cleanings.append((connection, cleaned))
        return cleaned

    start_over = reset

    def state(self, schema: bytes) -> State:
        """Give a state that differs from the others by its schema."""
        return self.states.intern(schema, True, {})

    def clean(self, error: Exception | None = None) -> None:
        """Let the oldest cleaning succeed or fail."""
        connection, cleaned = self.cleanings.pop(0)
        if error is not None:
            cleaned.errback(error)
        else:
            connection.state = self.states.fresh
            cleaned.callback(None)


def lose(connection: DatabaseConnection) -> None:
    """The database closes the connection."""
    connection.connectionLost(Failure(ConnectionDone()))


class Client:
    """Someone who waits, and notes what comes of it."""

    def __init__(self, key: PoolKey = APP) -> None:
        self.key = key
        self.until = 0.0
        self.connection: DatabaseConnection | None = None
        self.err: Err | None = None
        self.deadline: float | None = None
        """When it is refused, once it has been told to wait elsewhere."""
        self.then: Callable[[], object] = lambda: None

    @property
    def waits(self) -> bool:
        return self.connection is None and self.err is None

    def granted(self, connection: DatabaseConnection) -> None:
        assert self.waits
        self.connection = connection
        self.then()

    def refused(self, err: Err) -> None:
        assert self.waits
        self.err = err
        self.then()

    def wait_again(self, deadline: float) -> None:
        assert self.waits
        self.deadline = deadline


class Bench:
    """A pool and everything around it."""

    def __init__(
        self, *, max_connections: int = 10, percent: int = 100, cap: int | None = None, idle: int = 50,
        timeout: float = TIMEOUT,
    ) -> None:
        self.clock = Clock()
        # One of the server's is the monitor's.
        self.database = Database(self.clock, max_connections + 1)
        self.pool = Pool(Limits(percent, cap, idle, timeout, 100), self.database, self.clock)

    def started(self, *keys: PoolKey) -> Bench:
        """Start it, with one connection of each key open."""
        self.pool.start(lambda: keys or (APP,))
        self.database.openings[0].succeed()
        for key in keys[1:]:
            client = self.wait(key)
            self.open_all()
            self.pool.give_back(self.connection(client))
        return self

    def wait(self, key: PoolKey = APP, state: State | None = None) -> Client:
        """Wait for a connection."""
        client = Client(key)
        self.pool.wait(client, key, state)
        return client

    def connection(self, client: Client) -> DatabaseConnection:
        """Give the connection that a client has got."""
        assert client.connection is not None
        return client.connection

    def open_all(self) -> None:
        """Let all openings succeed, also those that follow."""
        while self.database.openings:
            self.database.openings[0].succeed()

    def fill(self, count: int, key: PoolKey = APP) -> list[Client]:
        """Borrow so many connections."""
        clients = [self.wait(key) for _ in range(count)]
        self.open_all()
        assert not any(client.waits for client in clients)
        return clients


# -- starting ----------------------------------------------------------------------------------------------------------


def test_one_connection_learns_what_the_target_is() -> None:
    bench = Bench()
    known: list[Facts] = []
    bench.pool.start(lambda: (APP,))
    bench.pool.known.when_known().addCallback(known.append)
    assert len(bench.database.openings) == 1
    client = bench.wait()
    assert client.waits
    assert len(bench.database.openings) == 1  # nothing else before the limit is known
    bench.database.openings[0].succeed()
    assert known == [bench.database.facts]
    assert client.connection is bench.database.open[0]
    bench.pool.known.when_known().addCallback(known.append)
    assert len(known) == 2


def test_whoever_stops_waiting_for_the_facts_is_not_told() -> None:
    bench = Bench()
    bench.pool.start(lambda: (APP,))
    known: list[Facts] = []
    waiting = bench.pool.known.when_known().addCallback(known.append)
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    bench.database.openings[0].succeed()
    assert known == []


@pytest.mark.parametrize(
    ("max_connections", "percent", "cap", "limit"),
    [(10, 100, None, 10), (10, 50, None, 5), (10, 100, 3, 3), (10, 20, 3, 2), (10, 1, None, 1)],
)
def test_never_more_connections_than_allowed(max_connections: int, percent: int, cap: int | None, limit: int) -> None:
    bench = Bench(max_connections=max_connections, percent=percent, cap=cap).started()
    clients = [bench.wait() for _ in range(30)]
    bench.open_all()
    assert bench.pool.connections == limit
    assert len([client for client in clients if not client.waits]) == limit
    assert bench.pool.waiting == 30 - limit
    assert [client.waits for client in clients] == [False] * limit + [True] * (30 - limit)


def test_a_spike_of_clients_is_no_spike_of_logins() -> None:
    bench = Bench(max_connections=100).started()
    for _ in range(60):
        bench.wait()
    under_way = []
    for _ in range(8):
        under_way.append(len(bench.database.openings))
        bench.database.openings[0].succeed()
    assert under_way == [3, 4, 5, 6, 7, 8, 8, 8]


def test_a_database_that_failed_is_not_run_over_when_it_is_back() -> None:
    bench = Bench(max_connections=100).started()
    for _ in range(60):
        bench.wait()
    for _ in range(7):
        bench.database.openings[0].succeed()
    while bench.database.openings:
        bench.database.openings[0].fail(ConnectionRefusedError())
    bench.clock.advance(2 * FIRST_RETRY)
    assert len(bench.database.openings) == 2


# -- lending -----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_in_the_right_state_is_taken_at_once() -> None:
    bench = Bench().started()
    fresh = bench.database.states.fresh
    connection = bench.pool.take(APP, fresh)
    assert connection is bench.database.open[0]
    assert bench.pool.take(APP, fresh) is None
    connection.state = bench.database.state(b"shop")
    bench.pool.give_back(connection)
    assert bench.pool.take(APP, fresh) is None
    assert bench.pool.take(OTHER, connection.state) is None
    assert bench.pool.take(APP, bench.database.state(b"shop")) is connection


def test_first_come_first_served() -> None:
    bench = Bench(cap=1).started()
    first, second, third = (bench.wait() for _ in range(3))
    order = []
    for client in (first, second, third):
        order.append(client)
        assert [one.waits for one in (first, second, third)].count(False) == len(order)
        bench.pool.give_back(bench.connection(client))
    # All have had their turn: nobody is left who waits.
    assert bench.pool.waiting == 0
    assert bench.pool.take(APP, bench.database.states.fresh) is bench.database.open[0]


def test_a_client_that_left_is_not_served() -> None:
    bench = Bench(cap=1).started()
    holder, gone, next_one = (bench.wait() for _ in range(3))
    bench.pool.forget(gone)
    bench.pool.forget(gone)
    bench.pool.give_back(bench.connection(holder))
    assert gone.waits
    assert next_one.connection is not None
    bench.clock.advance(TIMEOUT)
    assert gone.err is None


def test_a_cancelled_borrowing_is_forgotten() -> None:
    bench = Bench(cap=1).started()
    holder = bench.wait()
    failures: list[Failure] = []
    borrowing = bench.pool.borrow(APP, None).addErrback(failures.append)
    assert bench.pool.waiting == 1
    borrowing.cancel()
    assert bench.pool.waiting == 0
    bench.pool.give_back(bench.connection(holder))
    assert bench.pool.take(APP, bench.database.states.fresh) is holder.connection


def test_borrowing_gives_a_connection_or_the_reason() -> None:
    bench = Bench(cap=1).started()
    lent: list[DatabaseConnection] = []
    failures: list[Failure] = []
    bench.pool.borrow(APP, None).addCallback(lent.append)
    bench.pool.borrow(APP, None).addErrback(failures.append)
    assert lent == bench.database.open
    bench.clock.advance(TIMEOUT)
    assert isinstance(failures[0].value, BorrowError)
    assert failures[0].value.err.code == 9501


def test_one_who_leaves_while_others_are_served_does_not_get_a_connection() -> None:
    bench = Bench(cap=2).started()
    first, second = bench.fill(2)
    third, fourth = bench.wait(), bench.wait()
    # Both connections break; as the new ones come, serving the third makes the fourth go away.
    third.then = lambda: bench.pool.forget(fourth)
    fifth = bench.wait()
    for client in (first, second):
        lose(bench.connection(client))
    bench.open_all()
    assert third.connection is not None
    assert fourth.waits
    assert fifth.connection is not None
    assert fifth.connection is not third.connection


# -- waiting in vain ---------------------------------------------------------------------------------------------------


def test_each_waits_its_own_time() -> None:
    bench = Bench(cap=1).started()
    bench.wait()
    first = bench.wait()
    bench.clock.advance(50)
    second = bench.wait()
    bench.clock.advance(TIMEOUT - 50 - 0.01)
    assert first.waits
    bench.clock.advance(0.01)
    assert first.err is not None
    assert first.err.code == 9501
    assert second.waits
    bench.clock.advance(49.98)
    assert second.waits
    bench.clock.advance(0.02)
    assert second.err == first.err
    assert bench.pool.waiting == 0
    third = bench.wait()
    bench.clock.advance(TIMEOUT)
    assert third.err == first.err


def test_who_has_waited_elsewhere_is_refused_in_time_behind_those_who_have_not() -> None:
    bench = Bench(cap=1).started()
    bench.wait()
    bench.clock.advance(100)
    ahead, of_other = bench.wait(), bench.wait(OTHER)
    moved = [Client() for _ in range(3)]
    for client, deadline in zip(moved, (130.0, 110.0, 120.0), strict=True):
        bench.pool.wait(client, APP, None, deadline)
    left = []
    for _ in range(3):
        bench.clock.advance(10)
        left.append([client.waits for client in moved])
    assert left == [[True, False, True], [True, False, False], [False, False, False]]
    assert bench.pool.counts.borrows_timed_out == 3
    assert ahead.waits
    assert of_other.waits
    bench.clock.advance(90)
    assert not ahead.waits
    assert not of_other.waits
    assert bench.pool.waiting == 0


def test_who_has_waited_elsewhere_and_was_served_may_wait_again() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), Client()
    bench.pool.wait(client, APP, None, 10.0)
    bench.clock.advance(5)
    bench.pool.give_back(bench.connection(holder))
    holder = bench.wait()
    bench.pool.give_back(bench.connection(client))
    client.connection = None
    bench.pool.wait(client, APP, None)
    bench.clock.advance(TIMEOUT - 0.01)
    assert client.waits
    bench.clock.advance(0.01)
    assert client.err is not None


def test_who_has_waited_elsewhere_is_forgotten() -> None:
    bench = Bench(cap=1).started()
    bench.wait()
    client, other = Client(), Client()
    bench.pool.wait(client, APP, None, 10.0)
    bench.pool.wait(other, APP, None, 20.0)
    bench.pool.forget(client)
    bench.clock.advance(20)
    assert client.err is None
    assert other.err is not None


def test_a_timeout_of_zero_means_at_once() -> None:
    bench = Bench(cap=1, timeout=0).started()
    holder = bench.wait()
    assert holder.connection is not None
    late = bench.wait()
    assert late.err is not None
    assert late.err.code == 9501
    assert bench.pool.waiting == 0
    bench.pool.give_back(holder.connection)
    assert bench.wait().connection is holder.connection


def test_one_who_was_served_is_not_timed_out() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), bench.wait()
    bench.clock.advance(TIMEOUT - 1)
    bench.pool.give_back(bench.connection(holder))
    assert client.connection is not None
    bench.clock.advance(10)
    assert client.err is None


# -- connections that break --------------------------------------------------------------------------------------------


def test_a_broken_idle_connection_is_noticed_and_replaced() -> None:
    bench = Bench(cap=1).started()
    lose(bench.database.open[0])
    assert bench.pool.connections == 0
    client = bench.wait()
    bench.open_all()
    assert client.connection is bench.database.open[1]


def test_a_broken_borrowed_connection_makes_room() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), bench.wait()
    lose(bench.connection(holder))
    assert client.waits
    bench.open_all()
    assert client.connection is bench.database.open[1]
    assert bench.pool.connections == 1


def test_a_discarded_connection_makes_room_and_is_never_lent_again() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), bench.wait()
    bench.pool.discard(bench.connection(holder))
    bench.open_all()
    assert client.connection not in (None, holder.connection)
    assert bench.connection(holder).lost


def test_a_connection_is_lent_again_when_it_is_clean_and_not_before() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), bench.wait()
    bench.pool.recycle(bench.connection(holder))
    assert client.waits
    assert bench.pool.take(APP, bench.database.states.fresh) is None
    bench.database.clean()
    assert client.connection is holder.connection


def test_a_connection_that_cannot_be_cleaned_is_closed() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), bench.wait()
    bench.pool.recycle(bench.connection(holder))
    bench.database.clean(LoginError("no"))
    assert bench.connection(holder).lost
    bench.open_all()
    assert client.connection is bench.database.open[1]
    assert bench.pool.connections == 1


def test_who_cancels_a_cleaning_does_not_go_on_as_if_it_were_done() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), bench.wait()
    after: list[object] = []
    cleaning = bench.pool.recycle(bench.connection(holder)).addCallback(after.append)
    cleaning.addErrback(lambda failure: failure.trap(CancelledError))
    cleaning.cancel()
    assert after == []
    assert bench.connection(holder).lost
    bench.open_all()
    assert client.connection is bench.database.open[1]


def test_a_connection_that_breaks_while_it_is_cleaned() -> None:
    bench = Bench(cap=1).started()
    holder, client = bench.wait(), bench.wait()
    bench.pool.recycle(bench.connection(holder))
    lose(bench.connection(holder))
    bench.database.clean(ConnectionLostError("gone"))
    bench.open_all()
    assert client.connection is bench.database.open[1]
    assert bench.pool.connections == 1


# -- a database that does not answer -----------------------------------------------------------------------------------


def test_a_database_that_is_down_is_not_flooded_and_is_found_again() -> None:
    bench = Bench(cap=4).started()
    lose(bench.database.open[0])
    clients = [bench.wait() for _ in range(10)]
    end = bench.clock.seconds() + 60
    before = len(bench.database.asked)
    while bench.clock.seconds() < end:
        while bench.database.openings:
            bench.database.openings[0].fail(ConnectionRefusedError())
        bench.clock.advance(0.05)
    tries = bench.database.asked[before:]
    moments = sorted(set(tries))
    gaps = [late - early for early, late in pairwise(moments)]
    assert 40 <= len(moments) <= 90
    assert max(gaps) <= 1.3
    assert min(gaps[8:]) >= 0.7
    assert all(client.waits for client in clients)
    while not bench.database.openings:
        bench.clock.advance(0.05)
    bench.open_all()
    assert [client.waits for client in clients] == [False] * 4 + [True] * 6


def test_until_the_target_is_known_it_is_asked_again_and_again_by_each_user_in_turn() -> None:
    bench = Bench()
    known: list[Facts] = []
    bench.pool.start(lambda: (APP, OTHER))
    bench.pool.known.when_known().addCallback(known.append)
    keys = []
    for _ in range(4):
        keys.append(bench.database.openings[0].key)
        bench.database.openings[0].fail(DENIED)
        bench.clock.advance(2)
    assert keys == [APP, OTHER, APP, OTHER]
    bench.database.openings[0].succeed()
    assert len(known) == 1


@pytest.mark.parametrize("error", [DENIED, AuthenticationError("unknown plugin")], ids=["denied", "plugin"])
def test_a_refused_user_is_told_at_once_and_the_others_go_on(error: Exception) -> None:
    bench = Bench().started(APP, OTHER)
    bench.fill(1, OTHER)
    bench.fill(1, APP)
    refused = [bench.wait(APP), bench.wait(APP)]
    others = [bench.wait(OTHER), bench.wait(OTHER)]
    for opening in [one for one in bench.database.openings if one.key == APP]:
        if opening in bench.database.openings:
            opening.fail(error)
    for client in refused:
        assert client.err is not None
        assert client.err.code == 1045
        assert "10.0.0.7" not in client.err.message
    assert all(client.waits for client in others)
    bench.open_all()
    assert not any(client.waits for client in others)


def test_a_server_with_too_many_connections_does_not_refuse_a_user() -> None:
    bench = Bench(cap=2).started()
    bench.wait()
    client = bench.wait()
    bench.database.openings[0].fail(LoginError("full", Err(1040, "08004", "Too many connections")))
    assert client.waits
    bench.clock.advance(2)
    bench.open_all()
    assert client.connection is not None


# -- connections that nobody needs -------------------------------------------------------------------------------------


def test_unused_connections_are_closed_down_to_the_share() -> None:
    bench = Bench(max_connections=10, idle=30).started()
    for client in bench.fill(8):
        bench.pool.give_back(bench.connection(client))
    assert bench.pool.connections == 8
    bench.clock.advance(29)
    assert bench.pool.connections == 8
    bench.clock.pump([15] * 30)
    assert bench.pool.connections == 3
    assert sum(not connection.lost for connection in bench.database.open) == 3
    bench.clock.pump([15] * 60)
    assert bench.pool.connections == 3


def test_connections_in_use_stay() -> None:
    bench = Bench(max_connections=10, idle=0).started()
    holders = bench.fill(2)
    for client in bench.fill(3):
        bench.pool.give_back(bench.connection(client))
    fresh = bench.database.states.fresh
    for _ in range(60):
        bench.clock.advance(15)
        # One of the idle ones is lent once in a while.
        connection = bench.pool.take(APP, fresh)
        assert connection is not None
        connection.used = True
        bench.pool.give_back(connection)
    assert bench.pool.connections == 3
    assert not any(bench.connection(client).lost for client in holders)


# -- what is counted ---------------------------------------------------------------------------------------------------


def requests(pool: Pool) -> int:
    """How often a connection was wanted, whatever came or may yet come of it."""
    counts = pool.counts
    return pool.lent_at_once + sum(counts.waits.counts) + counts.borrows_aborted + pool.waiting


def test_each_borrow_is_counted_once() -> None:
    bench = Bench(cap=1).started()
    pool = bench.pool
    assert requests(pool) == 0
    connection = pool.take(APP, bench.database.states.fresh)
    assert connection is not None
    assert (pool.borrowed, pool.lent_at_once, requests(pool)) == (1, 1, 1)
    first, second = bench.wait(), bench.wait()
    assert (pool.waiting, requests(pool)) == (2, 3)
    bench.clock.advance(0.3)
    pool.give_back(connection)
    bench.clock.advance(1)
    pool.give_back(bench.connection(first))
    pool.give_back(bench.connection(second))
    assert bench.wait().connection is connection  # at once, though not by `take`
    assert (pool.borrowed, pool.waiting, pool.lent_at_once, requests(pool)) == (1, 0, 1, 4)
    assert pool.counts.borrows_aborted == 0
    assert dict(zip((*BOUNDS, None), pool.counts.waits.counts, strict=True)) == {
        **dict.fromkeys((*BOUNDS, None), 0), 0.001: 1, 0.5: 1, 2.5: 1,
    }
    assert pool.counts.waits.total == pytest.approx(0.3 + 1.3)


def test_each_way_to_get_no_connection_is_counted() -> None:
    bench = Bench(cap=1).started()
    pool = bench.pool
    connection = pool.take(APP, bench.database.states.fresh)
    assert connection is not None
    bench.wait()
    bench.clock.advance(TIMEOUT)
    assert (pool.counts.borrows_aborted, pool.counts.borrows_timed_out) == (1, 1)
    leaver = bench.wait()
    pool.forget(leaver)
    pool.forget(leaver)
    assert (pool.counts.borrows_aborted, pool.counts.borrows_timed_out) == (2, 1)
    pool.borrow(APP, None).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
    assert (pool.counts.borrows_aborted, pool.counts.borrows_timed_out) == (3, 1)
    pool.give_back(connection)
    denied = bench.wait(OTHER)
    lose(connection)
    bench.database.openings[0].fail(DENIED)
    assert denied.err is not None
    assert (pool.counts.borrows_aborted, pool.counts.borrows_timed_out, pool.waiting) == (4, 1, 0)
    assert requests(pool) == 5
    assert sum(pool.counts.waits.counts) == 0


def test_who_does_not_wait_is_counted_too() -> None:
    bench = Bench(cap=1, timeout=0).started()
    assert bench.wait().connection is not None
    assert bench.wait().err is not None
    pool = bench.pool
    assert (requests(pool), pool.counts.borrows_aborted, pool.counts.borrows_timed_out) == (2, 1, 1)


def test_a_connection_counts_until_the_database_has_closed_it() -> None:
    bench = Bench(cap=1)
    assert bench.pool.limit is None
    bench.started(APP)
    assert bench.pool.limit == 1
    (connection,) = bench.pool.logged_in()
    bench.wait(OTHER)
    assert list(bench.pool.logged_in()) == [connection]  # it has to go first
    lose(connection)
    assert list(bench.pool.logged_in()) == []
    bench.open_all()
    assert [other.key for other in bench.pool.logged_in()] == [OTHER]


# -- the end -----------------------------------------------------------------------------------------------------------


def test_stopping_leaves_nothing_behind() -> None:
    bench = Bench(cap=3).started()
    holder = bench.wait()
    bench.fill(1)
    waiting = [bench.wait(), bench.wait()]
    assert len(bench.database.openings) == 1
    bench.pool.stop()
    bench.clock.advance(0)
    assert bench.database.cancelled == 1
    for client in waiting:
        assert client.err is not None
        assert client.err.code == 1053
    assert all(connection.lost for connection in bench.database.open)
    assert bench.connection(holder).lost
    assert bench.clock.getDelayedCalls() == []
    assert bench.pool.connections == 0


def test_stopping_while_the_database_is_down() -> None:
    bench = Bench()
    bench.pool.start(lambda: (APP,))
    failures: list[Failure] = []
    bench.pool.known.when_known().addErrback(failures.append)
    bench.database.openings[0].fail(ConnectionRefusedError())
    bench.pool.stop()
    bench.pool.known.stop()
    assert len(failures) == 1
    assert bench.clock.getDelayedCalls() == []


def test_whoever_comes_after_the_end_is_refused() -> None:
    bench = Bench(cap=1).started()
    bench.pool.stop()
    bench.clock.advance(0)
    client = bench.wait()
    assert client.err is not None
    assert client.err.code == 1053
    assert bench.clock.getDelayedCalls() == []
    assert bench.database.openings == []


def test_one_who_is_refused_and_asks_again_does_not_keep_the_pool_alive() -> None:
    bench = Bench(cap=1).started()
    bench.wait()
    client = bench.wait()
    again: list[Client] = []
    client.then = lambda: again.append(bench.wait())
    bench.pool.stop()
    bench.clock.advance(0)
    assert [one.err is not None for one in again] == [True]
    assert bench.clock.getDelayedCalls() == []
