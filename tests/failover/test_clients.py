"""The clients that record: what they find wrong, and how they live through the end of a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.failover.bank import COUNTERS, Bank, Tally, create_bank
from tests.failover.idle import IdleClients
from tests.failover.replication import OTHER_SCHEMA, create_accounts
from tests.failover.timeline import Event, Timeline, outcome
from tests.integration.network import until
from tests.integration.proxy import NATIVE, connect
from tests.servers import DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

NO_SUCH_TABLE = 1146


@pytest.fixture(scope="module")
def server(kind: type[DatabaseServer]) -> Iterator[DatabaseServer]:
    """A server that may be killed; it is started again at the end of a test."""
    with kind() as server:
        create_accounts(server)
        yield server


@pytest.fixture
def bank(server: DatabaseServer) -> Iterator[Bank]:
    create_bank(server)
    with Bank(server.host, server.port, clients=4) as bank:
        bank.wait_for_writes()
        yield bank


def test_undisturbed_clients_are_all_acknowledged(server: DatabaseServer, bank: Bank) -> None:
    bank.stop()
    outcome = bank.outcome()
    assert not outcome.errors
    assert not outcome.refused
    assert outcome.drops == 0
    assert outcome.succeeded["connect"] == 4
    assert outcome.succeeded["commit"] + outcome.succeeded["insert"] + outcome.succeeded["count"] == bank.writes >= 40
    bank.check(server)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DELETE FROM bank_entries ORDER BY n LIMIT 1", "entry .* is there 0 times, not 1 to 1"),
        ("INSERT INTO bank_entries (id) SELECT MIN(id) FROM bank_entries", "entry .* is there 2 times, not 1 to 1"),
        ("INSERT INTO bank_entries (id) VALUES (-1)", "entry -1 is there 1 times, not 0 to 0"),
        ("UPDATE bank_accounts SET balance = balance + 1 WHERE id = 3", "the balances sum up to 20001, not 20000"),
        (
            "UPDATE bank_accounts SET balance = balance - 7 + 14 * (id - 3) WHERE id IN (3, 4)",
            "the balances are .* the transfers make",
        ),
        ("DELETE FROM bank_transfers ORDER BY n LIMIT 1", "transfer .* is there 0 times, not 1 to 1"),
        ("UPDATE bank_counters SET n = n + 1 WHERE id = 0", "count 0 is there .* times"),
    ],
)
def test_what_should_not_be_is_found(server: DatabaseServer, bank: Bank, change: str, problem: str) -> None:
    bank.stop()
    with server.admin("app") as connection, connection.cursor() as cursor:
        cursor.execute(change)
    with pytest.raises(AssertionError, match=problem):
        bank.check(server)


def test_clients_come_back_to_a_server_that_was_killed_and_know_what_it_has(server: DatabaseServer, bank: Bank) -> None:
    server.kill()
    server.start()
    bank.wait_for_writes()
    bank.stop()
    bank.check(server)
    outcome = bank.outcome()
    assert outcome.clients_dropped == outcome.drops == 4
    assert sum(outcome.errors.values()) == 4
    assert {code for code, _ in outcome.errors} <= {2006, 2013}
    assert {code for code, _ in outcome.refused} <= {2003, 2013}
    assert outcome.longest_gap <= outcome.longest_gap_of_a_client


def test_what_should_not_be_is_counted(server: DatabaseServer, bank: Bank) -> None:
    bank.stop()
    assert bank.tally(server) == (0, 0)
    server.execute(
        "DELETE FROM app.bank_entries ORDER BY n LIMIT 2",
        "INSERT INTO app.bank_entries (id) VALUES (-1)",
        "UPDATE app.bank_counters SET n = n + 3 WHERE id = 0",
        "UPDATE app.bank_counters SET n = n - 5 WHERE id = 1",
    )
    assert bank.tally(server) == Tally(lost=7, doubled=4)


def test_clients_make_new_connections_when_they_are_told(server: DatabaseServer, bank: Bank) -> None:
    bank.renew()
    bank.wait_for_writes()
    bank.stop()
    outcome = bank.outcome()
    assert (outcome.succeeded["connect"], outcome.drops) == (8, 0)
    assert not outcome.errors
    bank.check(server)


def test_clients_leave_a_connection_for_errors_that_they_know(server: DatabaseServer) -> None:
    create_bank(server)
    reached: list[Connection] = []

    def reach() -> Connection:
        reached.append(connect(server.host, server.port, NATIVE))
        return reached[-1]

    with Bank("nowhere.invalid", 0, clients=4, reach=reach, leave_on={NO_SUCH_TABLE}) as bank:
        bank.wait_for_writes()
        server.execute("RENAME TABLE app.bank_entries TO app.bank_entries_away")
        until(lambda: all(NO_SUCH_TABLE in {event.code for event in line.events} for line in bank.timelines), "errors")
        server.execute("RENAME TABLE app.bank_entries_away TO app.bank_entries")
        bank.wait_for_writes()
    outcome = bank.outcome()
    assert outcome.errors.keys() == {(NO_SUCH_TABLE, "42S02")}
    assert outcome.clients_dropped == 4
    assert len(reached) == outcome.succeeded["connect"] == 4 + outcome.drops
    bank.check(server)


def test_a_lost_commit_may_be_there_or_not_and_nothing_else_may(server: DatabaseServer, bank: Bank) -> None:
    bank.stop()
    book = bank.book("commit")
    (a, b, c) = list(book.acknowledged)[:3]
    found = Counter(book.acknowledged.keys())
    book.acknowledged -= Counter([a, b, c])
    book.unknown[a] += 1
    book.failed[b] += 1
    del found[c]
    assert list(book.problems("transfer", found)) == [f"transfer {b} is there 1 times, not 0 to 0 times"]
    del found[a], found[b]
    assert list(book.problems("transfer", found)) == []


def test_a_counter_lies_between_what_is_acknowledged_and_what_may_have_been(bank: Bank) -> None:
    bank.stop()
    book = bank.book("count")
    counted = Counter(book.acknowledged)
    book.unknown[1] += 2
    for extra, good in ((0, True), (2, True), (3, False), (-1, False)):
        found = counted + Counter({1: extra}) if extra >= 0 else counted - Counter([1])
        assert (not list(book.problems("count", found))) is good
    assert set(counted) <= set(range(COUNTERS))


def test_idle_clients_see_what_they_left(server: DatabaseServer) -> None:
    with IdleClients(server.host, server.port) as idle:
        seen = idle.look()
        assert (seen.dropped, seen.changed) == ([], [])
        idle.clients[1].query("SET time_zone = '+00:00'")
        idle.clients[2].query("SET @mine = NULL")
        idle.clients[3].query("USE app")
        seen = idle.look()
        assert seen.dropped == []
        assert seen.changed == [
            "client 1: @@time_zone is '+00:00', was '+01:01'",
            "client 2: @mine is None, was 'client 2'",
            "client 2: SELECT ? + 1, @mine is [(42, None)], was [(42, 'client 2')]",
            f"client 3: DATABASE() is 'app', was '{OTHER_SCHEMA}'",
        ]
        server.kill()
        server.start()
        assert idle.look().dropped == [0, 1, 2, 3]


def test_a_timeline_in_numbers() -> None:
    steady = Timeline([Event(float(second), second + 0.5, "insert") for second in range(10)])
    hit = Timeline(
        [
            Event(0.0, 0.1, "connect"),
            Event(0.2, 0.3, "commit"),
            Event(0.4, 2.0, "insert", 2013, "", dropped=True),
            Event(2.1, 2.2, "connect", 2003),
            Event(4.0, 4.1, "connect"),
            Event(4.2, 4.3, "count", 1290, "HY000"),
            Event(4.5, 7.5, "count"),
            Event(8.0, 9.0, "select"),
        ]
    )
    numbers = outcome([steady, hit], since=1.5)
    assert numbers.succeeded == {"insert": 10, "connect": 2, "commit": 1, "count": 1, "select": 1}
    assert numbers.errors == {(2013, ""): 1, (1290, "HY000"): 1}
    assert numbers.refused == {(2003, ""): 1}
    assert (numbers.clients_dropped, numbers.drops) == (1, 1)
    assert numbers.first_success == 1.0
    assert numbers.longest_gap == 1.0
    assert numbers.longest_gap_of_a_client == pytest.approx(7.2)
    assert numbers.slowest == 3.0
    alone = outcome([hit], since=5.0)
    assert alone.first_success is None
    assert alone.longest_gap == pytest.approx(7.2)
    assert outcome([Timeline([Event(0.0, 1.0, "insert"), Event(1.0, 9.0, "insert", 2013)])]).longest_gap == 8.0, (
        "no end"
    )
