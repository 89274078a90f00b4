"""The books of a pool, against a model that only checks the rules."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rdsproxy.pool.assignment import Assignment, Plan

KEYS = ("a", "b", "c")
STATES = ("plain", "utf8", "strict")


@dataclass(frozen=True)
class Waiter:
    """Someone who wants a connection."""

    number: int
    key: str
    state: str


@dataclass(frozen=True)
class Connection:
    """A connection of a key."""

    number: int
    key: str


Books = Assignment[str, Connection, Waiter]


class AssignmentMachine(RuleBasedStateMachine):
    """Clients come, go and give back; connections open, fail and break, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.books: Books = Assignment(4, 2)
        self.idle: dict[Connection, str] = {}
        self.busy: set[Connection] = set()
        self.taken = 0
        self.opening: Counter[str] = Counter()
        self.waiting: list[Waiter] = []
        self.served: set[Waiter] = set()
        self.count = 0

    # -- what the model knows ------------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        return len(self.idle) + len(self.busy) + self.opening.total()

    def queue(self, key: str) -> list[Waiter]:
        return [waiter for waiter in self.waiting if waiter.key == key]

    def idle_of(self, key: str) -> list[Connection]:
        return [connection for connection in self.idle if connection.key == key]

    def held(self, key: str) -> int:
        return sum(connection.key == key for connection in self.busy) + self.opening[key]

    def wants(self, key: str) -> bool:
        return len(self.queue(key)) > self.opening[key]

    def number(self) -> int:
        self.count += 1
        return self.count

    def lend(self, waiter: Waiter, connection: Connection) -> None:
        assert waiter not in self.served
        assert self.queue(waiter.key)[0] == waiter, "not first come, first served"
        assert connection.key == waiter.key
        fitting = [other for other in self.idle_of(waiter.key) if self.idle[other] == waiter.state]
        assert not fitting or connection in fitting, "a connection in the right state was left idle"
        del self.idle[connection]
        self.busy.add(connection)
        self.waiting.remove(waiter)
        self.served.add(waiter)

    def act(self) -> None:
        """Ask for a plan, check it and follow it."""
        books = self.books
        plan: Plan[str, Connection, Waiter] = books.plan()
        assert len(set(plan.close)) == len(plan.close)
        lent = {connection for _, connection in plan.lend}
        for connection in plan.close:
            assert connection not in lent
            del self.idle[connection]
        for waiter, connection in plan.lend:
            self.lend(waiter, connection)
        for key in plan.open:
            self.opening[key] += 1
        if plan.open:
            assert self.opening.total() <= books.opening_limit
            assert self.total <= books.limit
        assert self.total <= books.limit or not self.idle
        may_open = self.opening.total() < books.opening_limit
        for key in KEYS:
            if self.queue(key):
                assert not self.idle_of(key), "a waiter and an idle connection of its key"
            if self.wants(key) and may_open:
                assert self.total >= books.limit, "a waiter and room for a connection"
                assert not self.idle, "a waiter and an idle connection to close for it"
                # Fair: nobody was served who had more already.
                for other in {*(waiter.key for waiter, _ in plan.lend), *plan.open} - {key}:
                    assert self.held(other) <= self.held(key) + 1
        # Asked again, there is nothing left to do.
        assert books.plan() == Plan()

    # -- events --------------------------------------------------------------------------------------------------------

    @initialize(limit=st.integers(1, 6), opening_limit=st.integers(1, 3))
    def begin(self, limit: int, opening_limit: int) -> None:
        self.books = Assignment(limit, opening_limit)

    @rule(key=st.sampled_from(KEYS), state=st.sampled_from(STATES), count=st.integers(1, 4))
    def wait(self, key: str, state: str, count: int) -> None:
        for _ in range(count):
            waiter = Waiter(self.number(), key, state)
            self.waiting.append(waiter)
            if self.books.wait(key, waiter, state):
                self.act()
            else:
                # It said that a plan is of no use.
                assert self.books.plan() == Plan()

    @rule(key=st.sampled_from(KEYS), state=st.sampled_from(STATES))
    def take(self, key: str, state: str) -> None:
        connection = self.books.take(key, state)
        fitting = [other for other in self.idle_of(key) if self.idle[other] == state]
        if self.waiting or not fitting:
            assert connection is None
        else:
            assert connection in fitting
            del self.idle[connection]
            self.busy.add(connection)
            self.taken += 1

    @precondition(lambda self: self.idle or self.busy)
    @rule(data=st.data())
    def take_this(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(sorted({*self.idle, *self.busy}, key=lambda one: one.number)))
        taken = self.books.take_this(connection.key, connection)
        assert taken is (connection in self.idle)
        if taken:
            del self.idle[connection]
            self.busy.add(connection)
            self.taken += 1

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), state=st.sampled_from(STATES))
    def give_back(self, data: st.DataObject, state: str) -> None:
        connection = data.draw(st.sampled_from(sorted(self.busy, key=lambda one: one.number)))
        following = self.books.give_back(connection.key, connection, state)
        self.busy.remove(connection)
        self.idle[connection] = state
        if isinstance(following, Waiter):
            assert self.queue(following.key)[0] == following
            self.idle[connection] = following.state  # handed on without a look at the state
            self.lend(following, connection)
        elif following:
            self.act()
        else:
            assert not self.waiting
            assert self.total <= self.books.limit

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.waiting))
        self.books.forget(waiter.key, waiter)
        self.waiting.remove(waiter)
        self.books.forget(waiter.key, waiter)  # does nothing

    @precondition(lambda self: self.opening.total())
    @rule(data=st.data(), state=st.sampled_from(STATES))
    def opened(self, data: st.DataObject, state: str) -> None:
        key = data.draw(st.sampled_from([key for key in KEYS if self.opening[key]]))
        connection = Connection(self.number(), key)
        self.opening[key] -= 1
        self.idle[connection] = state
        self.books.opened(key, connection, state)
        self.act()

    @precondition(lambda self: self.opening.total())
    @rule(data=st.data())
    def not_opened(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([key for key in KEYS if self.opening[key]]))
        self.opening[key] -= 1
        self.books.not_opened(key)
        self.act()

    @precondition(lambda self: self.idle or self.busy)
    @rule(data=st.data())
    def gone(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(sorted({*self.idle, *self.busy}, key=lambda one: one.number)))
        self.idle.pop(connection, None)
        self.busy.discard(connection)
        self.books.gone(connection.key, connection)
        self.act()

    @rule(key=st.sampled_from(KEYS))
    def begin_opening(self, key: str) -> None:
        assume(self.total < self.books.limit)
        self.opening[key] += 1
        self.books.begin_opening(key)

    @rule(limit=st.integers(1, 6))
    def change_limit(self, limit: int) -> None:
        self.books.limit = limit
        self.act()

    @rule(limit=st.integers(0, 3))
    def change_opening_limit(self, limit: int) -> None:
        self.books.opening_limit = limit
        self.act()

    # -- always --------------------------------------------------------------------------------------------------------

    @invariant()
    def the_books_agree(self) -> None:
        books = self.books
        assert books.total == self.total
        assert books.busy == len(self.busy)
        assert books.taken == self.taken
        assert books.waiting == len(self.waiting)
        assert sorted(books.idle(), key=lambda one: one.number) == sorted(self.idle, key=lambda one: one.number)
        for key in KEYS:
            assert books.waiters(key) == self.queue(key)


AssignmentMachine.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
TestAssignment = AssignmentMachine.TestCase


# -- fairness over time ------------------------------------------------------------------------------------------------


class Load:
    """Keys that always have more waiters than connections; whoever is served gives back at some time."""

    def __init__(self, limit: int, keys: int, seed: int, *, first_alone: bool = False) -> None:
        self.random = random.Random(seed)
        self.books: Books = Assignment(limit, 8)
        self.keys = [f"key {number}" for number in range(keys)]
        self.busy: list[Connection] = []
        self.served: Counter[str] = Counter()
        self.logins = 0
        self.numbers = 0
        for key in self.keys[:1] if first_alone else self.keys:
            self.join(key)

    def join(self, key: str) -> None:
        for _ in range(self.books.limit + 1):
            self.wait(key)

    def wait(self, key: str) -> None:
        self.numbers += 1
        if self.books.wait(key, Waiter(self.numbers, key, "plain"), "plain"):
            self.act()

    def act(self) -> None:
        while True:
            plan = self.books.plan()
            for waiter, connection in plan.lend:
                self.serve(waiter, connection)
            for key in plan.open:
                self.numbers += 1
                self.logins += 1
                self.books.opened(key, Connection(self.numbers, key), "plain")
            if not plan.open:
                return

    def serve(self, waiter: Waiter, connection: Connection) -> None:
        self.served[waiter.key] += 1
        self.busy.append(connection)

    def turn(self) -> None:
        """Some connection comes back; its client waits again at once."""
        connection = self.busy.pop(self.random.randrange(len(self.busy)))
        following = self.books.give_back(connection.key, connection, "plain")
        if isinstance(following, Waiter):
            self.serve(following, connection)
        elif following:
            self.act()
        self.wait(connection.key)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("limit", "keys"), [(1, 2), (1, 3), (2, 3), (3, 2), (5, 5), (20, 3), (4, 9)])
def test_no_key_starves(limit: int, keys: int, seed: int) -> None:
    load = Load(limit, keys, seed)
    for _ in range(200 * keys):
        load.turn()
    # Each key has its share: a slot more or less where the limit cannot be divided.
    least = max(1, limit // keys) / (limit // keys + 1) / keys * 200 * keys / 2
    assert min(load.served[key] for key in load.keys) >= least, load.served


def test_a_key_that_comes_late_gets_its_share() -> None:
    load = Load(10, 2, 0, first_alone=True)
    assert len(load.busy) == 10
    late = load.keys[1]
    load.join(late)
    for _ in range(40):
        load.turn()
    assert sum(connection.key == late for connection in load.busy) == 5


@pytest.mark.parametrize("limit", [3, 20, 21])
def test_fair_shares_do_not_cost_a_login_for_each_loan(limit: int) -> None:
    load = Load(limit, 2, 1)
    for _ in range(1000):
        load.turn()
    assert load.logins <= 1.5 * limit + 2


def test_a_waiter_whose_client_left_leaves_its_place_to_the_next() -> None:
    books: Books = Assignment(1, 1)
    first, second = Waiter(1, "a", "plain"), Waiter(2, "a", "plain")
    assert books.wait("a", first, "plain")
    assert books.plan().open == ["a"]
    books.wait("a", second, "plain")
    books.forget("a", first)
    connection = Connection(1, "a")
    books.opened("a", connection, "plain")
    assert books.plan().lend == [(second, connection)]


def test_the_connection_used_last_is_lent_first() -> None:
    # So that those which are not needed are seen to be unused.
    books: Books = Assignment(3, 3)
    connections = [Connection(number, "a") for number in range(3)]
    for connection in connections:
        books.begin_opening("a")
        books.opened("a", connection, "plain")
    assert books.take("a", "plain") == connections[2]
    assert books.take("a", "plain") == connections[1]
    books.give_back("a", connections[2], "plain")
    assert books.take("a", "plain") == connections[2]


def test_of_several_idle_ones_that_do_not_fit_the_longest_unused_is_lent() -> None:
    books: Books = Assignment(3, 3)
    connections = [Connection(number, "a") for number in range(3)]
    for connection in connections:
        books.begin_opening("a")
        books.opened("a", connection, "plain")
    waiter = Waiter(1, "a", "strict")
    books.wait("a", waiter, "strict")
    assert books.plan().lend == [(waiter, connections[0])]
