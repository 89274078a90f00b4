"""Connections that could be had back are asked for only when somebody waits in vain, the longest idle first."""

from __future__ import annotations

from rdsproxy.backend.connection import DatabaseConnection, PoolKey
from rdsproxy.pool.spares import GRACE
from tests.pool.test_pool import APP, OTHER, TIMEOUT, Bench, lose


class Holder:
    """A borrower with a connection that it may give up."""

    sequence = 1
    attributes: bytes | None = None

    def __init__(self, bench: Bench, key: PoolKey = APP) -> None:
        self.asked = 0
        self.willing = True
        self._pool = bench.pool
        client = bench.wait(key)
        bench.open_all()
        self.connection = bench.connection(client)
        self.connection.borrower = self

    def offer(self) -> None:
        self._pool.spares.offer(self.connection)

    def give_up(self, connection: DatabaseConnection) -> None:
        assert connection is self.connection
        self.asked += 1
        if self.willing:
            self._pool.give_back(connection)

    def deliver(self, data: bytes | bytearray) -> None:
        """Nothing."""

    def replied(self) -> None:
        """Nothing."""

    def connection_broken(self, why: str) -> None:
        """Nothing."""

    pause = resume = replied


def test_it_is_asked_for_when_somebody_waits() -> None:
    bench = Bench(cap=1).started()
    holder = Holder(bench)
    holder.offer()
    bench.clock.advance(10 * GRACE)
    assert not holder.asked
    client = bench.wait()
    assert client.waits, "asked for on the next turn, so that nobody is called while it waits"
    bench.clock.advance(0)
    assert client.connection is holder.connection


def test_it_is_not_asked_for_at_once() -> None:
    bench = Bench(cap=1).started()
    holder = Holder(bench)
    client = bench.wait()
    holder.offer()
    bench.clock.advance(GRACE / 2)
    assert client.waits
    holder.offer()  # it has begun another one meanwhile
    bench.clock.advance(GRACE / 2)
    assert client.waits
    bench.clock.advance(GRACE / 2)
    assert client.connection is holder.connection


def test_the_longest_idle_comes_first() -> None:
    bench = Bench(cap=3).started()
    first, second, third = (Holder(bench) for _ in range(3))
    for holder in (first, second, third, first):
        holder.offer()
        bench.clock.advance(GRACE)
    clients = [bench.wait() for _ in range(2)]
    bench.clock.advance(0)
    assert [client.connection for client in clients] == [second.connection, third.connection]
    assert not first.asked


def test_no_more_than_are_needed() -> None:
    bench = Bench(cap=3).started()
    holders = [Holder(bench) for _ in range(3)]
    for holder in holders:
        holder.offer()
    bench.clock.advance(GRACE)
    bench.wait()
    bench.clock.advance(TIMEOUT / 2)
    assert [holder.asked for holder in holders] == [1, 0, 0]


def test_not_while_there_is_room_for_another() -> None:
    bench = Bench(cap=2).started()
    holder = Holder(bench)
    holder.offer()
    client = bench.wait()
    bench.clock.advance(GRACE)
    assert not holder.asked
    bench.open_all()
    assert client.connection is not holder.connection
    bench.wait()
    bench.clock.advance(GRACE)
    assert holder.asked


def test_one_that_is_in_use_again_is_passed_over() -> None:
    bench = Bench(cap=2).started()
    first, second = Holder(bench), Holder(bench)
    first.offer()
    second.offer()
    first.willing = False
    bench.clock.advance(GRACE)
    client = bench.wait()
    bench.clock.advance(0)
    assert client.connection is second.connection
    bench.wait()
    bench.clock.advance(10 * GRACE)
    assert first.asked == 1, "it has not offered it again"


def test_one_of_the_same_user_is_better() -> None:
    bench = Bench(cap=2).started()
    other, own = Holder(bench, OTHER), Holder(bench)
    other.offer()
    own.offer()
    bench.clock.advance(GRACE)
    client = bench.wait()
    bench.clock.advance(0)
    assert client.connection is own.connection
    another = bench.wait()
    bench.clock.advance(0)
    assert other.asked
    lose(other.connection)
    bench.open_all()
    assert another.connection is not None


def test_one_that_is_gone_is_not_asked() -> None:
    bench = Bench(cap=2).started()
    first, second = Holder(bench), Holder(bench)
    first.offer()
    second.offer()
    lose(first.connection)
    bench.clock.advance(GRACE)
    bench.wait()
    bench.open_all()
    bench.wait()
    bench.clock.advance(0)
    assert (first.asked, second.asked) == (0, 1)


def test_whoever_was_given_up_on_needs_none() -> None:
    bench = Bench(cap=1, timeout=GRACE / 2).started()
    holder = Holder(bench)
    bench.wait()
    holder.offer()
    bench.clock.advance(GRACE)
    assert not holder.asked


def test_a_stopped_pool_asks_for_none() -> None:
    bench = Bench(cap=1).started()
    holder = Holder(bench)
    bench.wait()
    holder.offer()
    bench.pool.stop()
    bench.clock.advance(GRACE)
    assert not holder.asked
    assert not bench.clock.getDelayedCalls()


def test_all_are_wanted_from_who_is_about_to_leave() -> None:
    bench = Bench(cap=2).started()
    first, second = Holder(bench), Holder(bench)
    first.offer()
    bench.pool.suspend()
    bench.clock.advance(GRACE)
    assert first.asked == 1
    second.offer()
    bench.clock.advance(GRACE)
    assert second.asked == 1
    bench.pool.resume()
    first.asked = 0
    bench.clock.advance(GRACE)
    client = bench.wait()
    bench.open_all()
    first.connection.borrower = first
    first.offer()
    bench.clock.advance(10 * GRACE)
    assert (client.waits, first.asked) == (False, 0)
