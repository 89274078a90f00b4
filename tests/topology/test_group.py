"""A target group with a clock of its own; the test says what each look at a target shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.task import Clock

from rdsproxy.backend.known import Known
from rdsproxy.pool.counts import Counts
from rdsproxy.pool.limits import Limits
from rdsproxy.pool.pool import Pool
from rdsproxy.pool.route import Route
from rdsproxy.topology.group import GRACE, Group
from rdsproxy.topology.health import Health, Reason, Role, State
from rdsproxy.topology.target import Place, Target
from tests.pool.test_pool import APP, Database
from tests.pool.test_route import Routed

WRITER = Health(State.AVAILABLE, Role.READ_WRITE)
READER = Health(State.AVAILABLE, Role.READ_ONLY, lag=0.5)
DOWN = Health(State.UNAVAILABLE, reason=Reason.UNREACHABLE, detail="no answer in time")
BOTH = frozenset((Role.READ_WRITE, Role.READ_ONLY))


class Watch:
    """Looks when the test says so."""

    def __init__(self, told: Callable[[Health, bool], None]) -> None:
        self.told = told
        self.pokes = 0
        self.hurries = 0
        self.stopped = False
        self.on_late: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Wait for the test."""

    def poke(self) -> None:
        self.pokes += 1

    def hurry(self) -> None:
        self.hurries += 1

    def stop(self) -> None:
        self.stopped = True


class Discovery:
    """Finds what the test says."""

    def __init__(self) -> None:
        self.hurries = 0

    def start(self, found: Callable[[Sequence[Place]], None]) -> None:
        self.found = found

    def hurry(self) -> None:
        self.hurries += 1

    def seen(self, targets: Sequence[Target]) -> None:
        """Nothing follows from it."""

    def stop(self) -> None:
        """Nothing to stop."""


class Borrower:
    """Whoever has a connection on loan."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def connection_broken(self, why: str) -> None:
        self.broken.append(why)


class Bench:
    """A group of the servers a, b, c ... and everything around it."""

    def __init__(
        self,
        names: str = "ab",
        *,
        roles: frozenset[Role] = BOTH,
        max_lag: float | None = None,
        fallback: bool = False,
        configured: dict[str, Role] | None = None,
    ) -> None:
        self.clock = Clock()
        self.discovery = Discovery()
        self.watches: dict[str, Watch] = {}
        self.databases: dict[str, Database] = {}
        self.configured = configured or {}
        known, counts = Known(), Counts()

        def make_target(place: Place) -> Target:
            database = self.databases[place.host] = Database(self.clock, 11)
            if known.states:
                database.states = known.states[APP]
            connector: Any = database
            return Target(place, connector)

        def make_watch(
            target: Target, in_haste: Callable[[], bool], told: Callable[[Health, bool], None]
        ) -> Any:
            watch = self.watches[target.place.host] = Watch(told)
            return watch

        def make_pool(target: Target) -> Pool:
            return Pool(Limits(100, 4, 50, 120.0, 100), target.connector, self.clock, known, counts)

        self.group = Group(
            self.discovery,
            make_target,
            make_watch,
            make_pool,
            known=known,
            counts=counts,
            users=lambda: ["app"],
            roles=roles,
            borrow_timeout=120.0,
            max_lag=max_lag,
            writer_serves_readers=fallback,
            reactor=self.clock,
        )
        self.group.start()
        self.place(names)

    def place(self, names: str) -> None:
        """Say where the servers are."""
        self.discovery.found([Place(name, 3306, name, self.configured.get(name)) for name in names])

    def look(self, *, fresh: bool = True, **seen: Health) -> None:
        """Show what the servers are like, in this order."""
        for name, health in seen.items():
            self.watches[name].told(health, fresh)
        self.open()

    def open(self) -> None:
        """Let all logins succeed."""
        for database in self.databases.values():
            while database.openings:
                database.openings[0].succeed()

    def target(self, name: str) -> Target:
        """Give the server of that name."""
        return next(target for target in self.group.targets if target.place.host == name)

    def borrow(self, route: Route | None = None) -> Routed:
        """Wait for a connection, of the writer unless it says otherwise."""
        self.open()
        waiter = Routed(route or self.group.writers)
        self.open()
        return waiter

    def where(self, waiter: Routed) -> str:
        """Tell which server a waiter has got a connection of; empty: none yet."""
        return next(
            (name for name, database in self.databases.items() if waiter.connection in database.open), ""
        )


def test_the_one_that_takes_writes_is_the_writer() -> None:
    bench = Bench()
    early = bench.borrow()
    bench.look(a=READER, b=WRITER)
    assert bench.where(early) == "b"
    assert bench.where(bench.borrow(bench.group.readers)) == "a"
    assert bench.group.writer is bench.target("b")


def test_configured_roles_are_not_asked_for() -> None:
    bench = Bench(configured={"a": Role.READ_ONLY, "b": Role.READ_WRITE})
    bench.look(a=WRITER, b=READER)
    assert bench.where(bench.borrow()) == "b"
    assert bench.where(bench.borrow(bench.group.readers)) == "a"


def test_a_configured_writer_that_refuses_the_monitor_serves_all_the_same() -> None:
    denied = Health(State.UNAVAILABLE, reason=Reason.AUTH_FAILURE)
    bench = Bench("a", configured={"a": Role.READ_WRITE})
    bench.look(a=denied)
    assert bench.where(bench.borrow()) == "a"
    unknown = Bench("a")
    unknown.look(a=denied)
    assert unknown.where(unknown.borrow()) == ""


def test_a_server_without_a_connection_for_the_monitor_is_what_it_was() -> None:
    bench = Bench("a")
    bench.look(a=WRITER)
    bench.look(a=Health(State.AVAILABLE))
    assert bench.where(bench.borrow()) == "a"


def test_one_that_is_promoted_while_the_writer_is_silent_is_followed_at_once() -> None:
    bench = Bench("abc")
    bench.look(a=WRITER, b=READER, c=READER)
    for watch in bench.watches.values():
        watch.hurries = 0
    bench.watches["b"].on_late()
    assert not any(watch.hurries for watch in bench.watches.values()), "a reader may take its time"
    holder, borrower = bench.borrow(), Borrower()
    assert holder.connection is not None
    holder.connection.borrower = borrower  # type: ignore[assignment]
    bench.watches["a"].on_late()
    assert all(watch.hurries for watch in bench.watches.values())
    assert (bench.where(bench.borrow()), borrower.broken) == ("a", []), "late is not lost"
    bench.look(b=WRITER)
    assert bench.group.writer is bench.target("b")
    assert borrower.broken == ["the target does not answer"]
    assert bench.where(bench.borrow()) == "b"
    bench.look(a=WRITER)
    assert bench.group.writer is bench.target("b"), "it was too late"


def test_nobody_is_followed_for_a_claim_from_before_the_silence() -> None:
    bench = Bench("abc")
    bench.look(a=WRITER, b=WRITER, c=READER)
    bench.watches["a"].on_late()
    bench.look(b=WRITER)
    assert bench.group.writer is bench.target("a")
    bench.look(a=WRITER)
    bench.look(c=WRITER)
    assert bench.group.writer is bench.target("a"), "it has answered before the claim"


def test_a_failover() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    holder, borrower = bench.borrow(), Borrower()
    connection = holder.connection
    assert connection is not None
    connection.borrower = borrower  # type: ignore[assignment]
    bench.look(a=DOWN)
    waiting = bench.borrow()
    assert bench.where(waiting) == ""
    # Nobody knows yet what becomes of what is under way.
    assert borrower.broken == []
    bench.clock.advance(3)
    bench.look(b=WRITER)
    assert bench.where(waiting) == "b"
    assert borrower.broken == ["the target does not answer"]
    assert bench.target("b").health.reason is Reason.PROMOTED
    bench.look(b=WRITER)
    assert bench.target("b").health.reason is Reason.PROMOTED
    assert bench.group.events.failovers == 1
    assert bench.group.events.without_writer == pytest.approx(3)
    bench.clock.advance(0)
    assert bench.target("a").pool is None


def test_the_same_writer_comes_back() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    pool = bench.target("a").pool
    bench.look(a=DOWN)
    waiting = bench.borrow()
    bench.look(a=WRITER)
    assert bench.where(waiting) == "a"
    assert bench.target("a").pool is pool
    assert bench.group.events.failovers == 0


def test_an_old_writer_that_comes_back_is_not_gone_back_to() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    bench.look(a=DOWN, b=WRITER)
    bench.look(a=WRITER)
    assert bench.where(bench.borrow()) == "b"
    assert bench.group.events.rivalries == 1
    bench.look(a=WRITER, b=WRITER)
    assert bench.group.events.rivalries == 1
    bench.look(a=READER)
    assert bench.where(bench.borrow(bench.group.readers)) == "a"


def test_a_planned_switchover_leaves_time_to_what_is_under_way() -> None:
    bench = Bench(roles=frozenset((Role.READ_WRITE,)))
    bench.look(a=WRITER, b=READER)
    holders = [bench.borrow(), bench.borrow()]
    borrowers = [Borrower(), Borrower()]
    for holder, borrower in zip(holders, borrowers, strict=True):
        assert holder.connection is not None
        holder.connection.borrower = borrower  # type: ignore[assignment]
    bench.look(a=READER)
    bench.look(b=WRITER)
    first = holders[0].connection
    assert first is not None
    first.pool.give_back(first)
    bench.clock.advance(GRACE - 1)
    assert [borrower.broken for borrower in borrowers] == [[], []]
    bench.clock.advance(1)
    assert [len(borrower.broken) for borrower in borrowers] == [0, 1]


def test_trouble_under_a_statement_is_looked_into_before_anything_else_is_sent() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    pool = bench.target("a").pool
    assert pool is not None
    pokes = bench.watches["a"].pokes
    pool.doubt()
    assert bench.watches["a"].pokes == pokes + 1
    assert bench.discovery.hurries > 0
    waiting = bench.borrow()
    bench.look(a=WRITER, fresh=False)  # begun before the trouble
    bench.look(b=READER)
    assert bench.where(waiting) == ""
    bench.look(a=WRITER)
    assert bench.where(waiting) == "a"
    assert bench.group.events.without_writer == 0


def test_trouble_that_is_a_failover() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    pool = bench.target("a").pool
    assert pool is not None
    pool.doubt()
    waiting = bench.borrow()
    bench.look(a=READER)
    assert bench.where(waiting) == ""
    bench.look(b=WRITER)
    assert bench.where(waiting) == "b"


def test_trouble_at_a_reader_holds_nobody() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    pool = bench.target("b").pool
    assert pool is not None
    pool.doubt()
    assert bench.where(bench.borrow()) == "a"
    assert bench.watches["b"].pokes == 1


def test_pause_and_resume() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    holder = bench.borrow()
    bench.group.pause()
    bench.group.pause()
    waiting = [bench.borrow(), bench.borrow(bench.group.readers)]
    assert bench.group.borrowed == 1
    connection = holder.connection
    assert connection is not None
    connection.pool.give_back(connection)
    assert bench.group.borrowed == 0
    bench.group.resume()
    # What is known is from before the pause.
    assert [bench.where(client) for client in waiting] == ["", "b"]
    bench.look(a=READER, b=WRITER)
    assert bench.where(waiting[0]) == "b"
    bench.group.resume()
    assert not bench.group.is_paused


def test_a_pause_before_there_is_a_writer() -> None:
    bench = Bench()
    bench.group.pause()
    bench.look(a=WRITER)
    waiting = bench.borrow()
    assert bench.where(waiting) == ""
    bench.group.resume()
    bench.look(a=WRITER)
    assert bench.where(waiting) == "a"


def test_readers_are_chosen_by_how_much_they_are_used() -> None:
    bench = Bench("abc")
    bench.look(a=WRITER, b=READER, c=READER)
    assert sorted(bench.where(bench.borrow(bench.group.readers)) for _ in range(4)) == ["b", "b", "c", "c"]


@pytest.mark.parametrize(
    "health",
    [
        Health(State.AVAILABLE, Role.READ_ONLY, lag=11.0),
        Health(State.AVAILABLE, Role.READ_ONLY),
        Health(State.AVAILABLE, Role.READ_ONLY, 0.0, Reason.INVALID_REPLICATION_STATE),
        DOWN,
    ],
)
@pytest.mark.parametrize("fallback", [False, True])
def test_a_reader_that_cannot_serve(health: Health, fallback: bool) -> None:
    bench = Bench("ab", max_lag=10.0, fallback=fallback)
    bench.look(a=WRITER, b=READER)
    assert bench.where(bench.borrow(bench.group.readers)) == "b"
    bench.look(b=health)
    waiting = bench.borrow(bench.group.readers)
    assert bench.where(waiting) == ("a" if fallback else "")
    bench.look(b=READER)
    assert bench.where(waiting) == ("a" if fallback else "b")
    assert bench.where(bench.borrow(bench.group.readers)) == "b"


def test_what_was_under_way_at_a_lost_reader_goes_to_another_at_once() -> None:
    bench = Bench("abc")
    bench.look(a=WRITER, b=READER, c=READER)
    holder = bench.borrow(bench.group.readers)
    lost = bench.where(holder)
    again: list[Routed] = []

    class Repeater(Borrower):
        def connection_broken(self, why: str) -> None:
            again.append(Routed(bench.group.readers))

    assert holder.connection is not None
    holder.connection.borrower = Repeater()  # type: ignore[assignment]
    bench.watches[lost].told(DOWN, True)
    bench.open()
    assert [bench.where(waiter) for waiter in again] == ["c" if lost == "b" else "b"]


def test_a_lost_reader_is_cut() -> None:
    bench = Bench("abc")
    bench.look(a=WRITER, b=READER, c=READER)
    holder, borrower = bench.borrow(bench.group.readers), Borrower()
    assert holder.connection is not None
    holder.connection.borrower = borrower  # type: ignore[assignment]
    lost = bench.where(holder)
    bench.watches[lost].told(DOWN, True)
    assert borrower.broken == ["the target does not answer"]
    other = "c" if lost == "b" else "b"
    assert {bench.where(bench.borrow(bench.group.readers)) for _ in range(2)} == {other}


def test_a_name_whose_address_moves() -> None:
    bench = Bench("a")
    bench.look(a=WRITER)
    holder, borrower = bench.borrow(), Borrower()
    assert holder.connection is not None
    holder.connection.borrower = borrower  # type: ignore[assignment]
    bench.place("b")
    waiting = bench.borrow()
    assert bench.where(waiting) == ""
    bench.look(b=WRITER)
    assert bench.where(waiting) == "b"
    # The old one is looked at as long as something is under way there.
    assert not bench.watches["a"].stopped
    bench.look(a=DOWN)
    assert len(borrower.broken) == 1
    bench.clock.advance(0)
    assert bench.watches["a"].stopped


def test_the_end_leaves_nothing() -> None:
    bench = Bench()
    bench.look(a=WRITER, b=READER)
    bench.borrow()
    bench.look(a=READER, b=WRITER)
    waiting = bench.borrow()
    bench.look(b=DOWN)
    last = bench.borrow()
    bench.group.stop()
    bench.clock.advance(0)
    assert waiting.err is not None or waiting.connection is not None
    assert last.err is not None
    assert bench.clock.getDelayedCalls() == []
    assert all(watch.stopped for watch in bench.watches.values())


def test_targets_by_name() -> None:
    """Of several servers behind one name it is the writer, then one that answers."""
    bench = Bench("")
    bench.discovery.found([Place(host, 3306, "DB.example.com") for host in "ab"] + [Place("c", 3307, "c")])
    group = bench.group
    assert group.named("c", 3307) is bench.target("c")
    assert group.named("c", 3306) is group.named("a", 3306) is None
    bench.look(a=DOWN, b=READER)
    assert group.named("db.example.com", 3306) is bench.target("b")
    bench.look(a=WRITER)
    assert group.named("db.example.com", 3306) is bench.target("a")
