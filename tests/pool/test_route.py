"""Where clients borrow while targets come and go."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from rdsproxy.pool.borrowing import BorrowError
from rdsproxy.pool.counts import Counts
from rdsproxy.pool.route import Route
from tests.pool.test_pool import APP, TIMEOUT, Bench, Client


class Routed(Client):
    """A client that waits on a route, and goes on waiting there."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route
        route.wait(self, APP, None)

    def wait_again(self, deadline: float) -> None:
        super().wait_again(deadline)
        self.route.wait(self, APP, None, deadline)


class Targets:
    """A route, and pools of two targets."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.one, self.two = Bench(cap=2), Bench(cap=2)
        # One clock for all, and states that mean the same.
        self.two.clock = self.one.clock
        self.two.database.states = self.one.database.states
        self.clock = self.one.clock
        self.route = Route(self.one.pool.known, Counts(), timeout, self.clock)


def test_whoever_comes_while_there_is_no_target_waits_in_order() -> None:
    targets = Targets()
    targets.one.started()
    clients = [Routed(targets.route) for _ in range(3)]
    assert targets.route.take(APP, None) is None
    assert targets.route.held == 3
    targets.route.serve([targets.one.pool])
    targets.one.open_all()
    assert [client.waits for client in clients] == [False, False, True]
    assert targets.route.held == 0
    assert targets.route.counts.held == 3


def test_those_who_wait_for_a_target_that_is_lost_wait_for_the_next() -> None:
    """In their order, and not a moment longer than they would have waited for the first."""
    targets = Targets()
    targets.one.started()
    targets.route.serve([targets.one.pool])
    first, second = Routed(targets.route), Routed(targets.route)
    targets.one.open_all()
    targets.clock.advance(1)
    third, fourth = Routed(targets.route), Routed(targets.route)
    targets.clock.advance(1)
    targets.route.serve([])
    targets.one.pool.suspend()
    assert (third.deadline, fourth.deadline) == (1 + TIMEOUT, 1 + TIMEOUT)
    fifth = Routed(targets.route)
    assert targets.route.held == 3
    targets.clock.advance(TIMEOUT - 1)
    assert [client.err is not None for client in (third, fourth, fifth)] == [True, True, False]
    assert first.connection is not None
    assert second.connection is not None
    targets.two.started()
    targets.route.serve([targets.two.pool])
    assert fifth.connection is targets.two.database.open[0]


def test_who_has_waited_elsewhere_is_refused_in_time_behind_those_who_have_not() -> None:
    targets = Targets()
    targets.one.started()
    targets.route.serve([targets.one.pool])
    loans = [Routed(targets.route) for _ in range(2)]
    targets.one.open_all()
    old = Routed(targets.route)
    targets.clock.advance(1)
    targets.route.serve([])
    new = Routed(targets.route)
    targets.one.pool.suspend()
    assert targets.route.held == 2
    targets.clock.advance(TIMEOUT - 1)
    assert [client.waits for client in (*loans, old, new)] == [False, False, False, True]
    targets.clock.advance(1)
    assert not new.waits


def test_a_suspended_pool_lends_nothing() -> None:
    targets = Targets()
    pool = targets.one.started().pool
    pool.suspend()
    (connection,) = targets.one.database.open
    assert not pool.take_this(APP, connection)
    assert pool.take_any(APP) is None
    pool.resume()
    assert pool.take_this(APP, connection)


def test_the_pool_that_is_used_least_is_led_to() -> None:
    targets = Targets()
    targets.one.started()
    targets.two.started()
    targets.route.serve([targets.one.pool, targets.two.pool])
    clients = [Routed(targets.route) for _ in range(2)]
    assert {client.connection for client in clients} == {*targets.one.database.open, *targets.two.database.open}
    fresh = targets.one.database.states.fresh
    for client in clients:
        connection = targets.one.connection(client)
        connection.pool.give_back(connection)
        taken = targets.route.take(APP, fresh)
        assert taken is not None


def test_one_who_leaves_is_forgotten_wherever_it_waits() -> None:
    targets = Targets()
    held = targets.route.borrow(APP, None)
    failures: list[Failure] = []
    held.addErrback(failures.append)
    held.cancel()
    assert failures[0].check(CancelledError)
    assert targets.route.held == 0
    targets.one.started()
    targets.route.serve([targets.one.pool])
    clients = [Routed(targets.route) for _ in range(3)]
    targets.one.open_all()
    targets.route.serve([])  # without a word to those who wait in the pool
    targets.route.forget(clients[2])
    assert targets.one.pool.waiting == 0


def test_who_waits_for_the_route_alone() -> None:
    targets = Targets(timeout=5)
    opened: list[object] = []
    targets.route.when_open().addBoth(opened.append)
    targets.route.serve([targets.one.started().pool])
    assert opened == [None]
    targets.route.when_open().addBoth(opened.append)
    assert opened == [None, None]
    targets.route.serve([])
    targets.route.when_open().addBoth(opened.append)
    targets.clock.advance(5)
    last = opened[-1]
    assert isinstance(last, Failure)
    assert last.check(BorrowError)


def test_no_waiting_at_all() -> None:
    targets = Targets(timeout=0)
    client = Routed(targets.route)
    assert client.err is not None
    assert client.err.code == 9501


def test_a_route_that_ends_refuses_all() -> None:
    targets = Targets()
    client = Routed(targets.route)
    targets.route.stop()
    assert client.err is not None
    assert client.err.code == 1053
    assert Routed(targets.route).err is not None
    assert targets.clock.getDelayedCalls() == []


# -- a target that is left ---------------------------------------------------------------------------------------------


def test_a_pool_that_is_left_closes_what_is_idle_now_and_the_rest_when_it_is_given_back() -> None:
    bench = Bench(cap=2).started()
    holder = bench.wait()
    other = bench.wait()
    bench.open_all()
    bench.pool.give_back(bench.connection(other))
    left: list[bool] = []
    bench.pool.leave(lambda: left.append(True))
    bench.clock.advance(0)
    assert left == []
    bench.pool.give_back(bench.connection(holder))
    for connection in list(bench.pool.logged_in()):
        connection.connectionLost(Failure(Exception()))
    assert left == [True]
    assert bench.clock.getDelayedCalls() == []


def test_a_pool_that_is_cut_breaks_its_loans() -> None:
    bench = Bench(cap=2).started()
    holder = bench.wait()
    broken: list[str] = []

    class Borrower:
        def connection_broken(self, why: str) -> None:
            broken.append(why)

    borrower: object = Borrower()
    bench.connection(holder).borrower = borrower  # type: ignore[assignment]
    left: list[bool] = []
    bench.pool.leave(lambda: left.append(True))
    bench.pool.cut("the target does not answer")
    assert broken == ["the target does not answer"]
    assert left == [True]
