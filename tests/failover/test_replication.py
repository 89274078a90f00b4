"""Servers that replicate: roles, accounts, and the ways to change the roles."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.failover.bank import Bank, create_bank
from tests.failover.dialects import MONITOR, dialect_of, one
from tests.failover.network import TcpRelay
from tests.failover.replication import Place, ReplicationSet, set_read_only
from tests.integration.network import until
from tests.integration.proxy import ACCOUNTS, Account, connect, refused, rows, run
from tests.servers import DatabaseServer, free_port

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

Kind = type[DatabaseServer]
Set = ReplicationSet[DatabaseServer]

READ_ONLY = 1290


@pytest.fixture(scope="module")
def pair(kind: Kind) -> Iterator[Set]:
    """A primary and a replica on the same port of different addresses, as servers that share a name."""
    port = free_port()
    with ReplicationSet(kind, places=[Place("127.0.0.2", port), Place("127.0.0.3", port)]) as servers:
        yield servers


def is_read_only(server: DatabaseServer) -> bool:
    return bool(one(server, "SELECT @@GLOBAL.read_only"))


def test_what_the_primary_acknowledges_the_replica_has(pair: Set) -> None:
    with connect(pair.primary.host, pair.primary.port, ACCOUNTS[0]) as connection:
        run(connection, "CREATE TABLE first (id INT)")
        run(connection, "INSERT INTO first VALUES (1)")
    (replica,) = pair.replicas
    dialect = dialect_of(replica)
    assert dialect.has(replica, dialect.executed(pair.primary)), "semi-synchronously"
    pair.wait_for_replicas()
    assert one(replica, "SELECT COUNT(*) FROM app.first") == 1


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
def test_replicas_refuse_writes_and_no_account_gets_around_that(pair: Set, account: Account) -> None:
    assert not is_read_only(pair.primary)
    (replica,) = pair.replicas
    with connect(replica.host, replica.port, account) as connection:
        with refused(READ_ONLY):
            run(connection, "CREATE TABLE second (id INT)")
        with pytest.raises(pymysql.MySQLError):
            run(connection, "SET GLOBAL read_only = OFF")


def test_the_account_for_monitoring_sees_roles_and_nothing_else(pair: Set) -> None:
    account = Account(MONITOR.name, MONITOR.password, "MYSQL_CACHING_SHA2_PASSWORD")
    for server in pair.servers:
        is_replica = server is not pair.primary
        with connect(server.host, server.port, account, database=None) as connection:
            assert rows(connection, "SELECT @@GLOBAL.read_only") == [(is_replica,)]
            assert len(rows(connection, "SHOW REPLICA STATUS")) == is_replica
            with pytest.raises(pymysql.MySQLError):
                run(connection, "SELECT * FROM app.first")


def test_a_switch_over_loses_nothing_and_drops_nobody(pair: Set) -> None:
    old = pair.primary
    create_bank(old)
    (candidate,) = pair.replicas
    seen = []
    with Bank(old.host, old.port, clients=4) as bank:
        bank.wait_for_writes()
        new = pair.switch_over(on_writable=lambda: seen.append((is_read_only(old), is_read_only(candidate))))
    assert seen == [(True, False)]
    assert (pair.primary, pair.replicas) == (new, [old])
    assert (is_read_only(old), is_read_only(new)) == (True, False)
    outcome = bank.outcome()
    assert outcome.clients_dropped == 0
    assert {code for code, _ in outcome.errors} <= {READ_ONLY}
    bank.check(new)
    with Bank(new.host, new.port, clients=4) as second:
        second.wait_for_writes()
    pair.wait_for_replicas()
    assert sorted(rows_of(old)) == sorted(rows_of(new))


def test_a_server_becomes_read_only_although_a_transaction_waits_for_that(pair: Set) -> None:
    server = pair.primary
    server.execute("CREATE TABLE app.rows_locked (id INT PRIMARY KEY, n INT)")
    server.execute("INSERT INTO app.rows_locked VALUES (1, 0), (2, 0)")
    update = "UPDATE rows_locked SET n = n + 1 WHERE id = {}"

    def waiting() -> int:
        return sum(process.command == "Query" for process in server.processlist())

    def reach() -> Connection:
        return connect(server.host, server.port, ACCOUNTS[0])

    with reach() as one, reach() as other, ThreadPoolExecutor() as threads:
        run(one, "BEGIN")
        run(one, update.format(1))
        # It waits for the row, read_only for it, and the transaction that has the row waits for read_only.
        second = threads.submit(run, other, update.format(1))
        until(lambda: waiting() == 1, "the second waits for the row")
        change = threads.submit(set_read_only, server, True)
        until(lambda: waiting() == 2, "read_only waits for the second")
        run(one, update.format(2))
        run(one, "COMMIT")
        assert second.result() == 1
        change.result()
    assert is_read_only(server)
    pair.accept_writes()


def rows_of(server: DatabaseServer) -> list[tuple[object, ...]]:
    with server.admin("app") as connection:
        return rows(connection, "SELECT id, balance FROM bank_accounts")


@pytest.mark.parametrize(
    "fail", [DatabaseServer.kill, DatabaseServer.stop, DatabaseServer.pause], ids=["killed", "stopped", "frozen"]
)
def test_a_forced_failover_loses_no_acknowledged_write(pair: Set, fail: Callable[[DatabaseServer], None]) -> None:
    old = pair.primary
    create_bank(old)
    with TcpRelay(old.host, old.port) as address, Bank(address.host, address.port) as bank:
        bank.wait_for_writes()
        fail(old)
        moment = time.monotonic()
        new = pair.promote()
        address.lead_to(new.host, new.port)
        address.reset()  # as a client's timeout does, which ends its waiting for a frozen server
        bank.wait_for_writes()
    assert not is_read_only(new)
    bank.check(new)
    outcome = bank.outcome(moment)
    assert outcome.clients_dropped == 8
    assert outcome.first_success is not None

    pair.rejoin(old)
    assert [is_read_only(server) for server in pair.servers] == [False, False], "two primaries"
    set_read_only(old, False)
    old.execute("INSERT INTO app.bank_entries (id) VALUES (-1)")
    pair.rejoin(old, as_replica=True)
    assert is_read_only(old)
    bank.check(old)


def test_what_a_replaced_primary_wrote_alone_is_missed_whatever_else_was_written(pair: Set) -> None:
    old = pair.primary
    create_bank(old)
    pair.wait_for_replicas()
    old.kill()
    new = pair.promote()
    pair.rejoin(old)
    dialect = dialect_of(old)
    assert dialect.has(new, dialect.executed(old))
    set_read_only(old, False)
    old.execute("INSERT INTO app.bank_entries (id) VALUES (1)")
    # These have the number of the other one, and a higher one.
    new.execute("INSERT INTO app.bank_entries (id) VALUES (2)", "INSERT INTO app.bank_entries (id) VALUES (3)")
    assert not dialect.has(new, dialect.executed(old))
    pair.rejoin(old, as_replica=True)
    assert one(old, "SELECT GROUP_CONCAT(id) FROM app.bank_entries") == "2,3"


def test_a_replica_applies_what_it_has_before_it_is_promoted(pair: Set) -> None:
    old = pair.primary
    (replica,) = pair.replicas
    create_bank(old)
    pair.wait_for_replicas()
    with replica.admin("app") as connection:
        run(connection, "LOCK TABLES bank_entries READ")  # the replica cannot apply
        old.execute("INSERT INTO app.bank_entries (id) VALUES (1)")
        old.kill()
        with ThreadPoolExecutor(1) as thread:
            promotion = thread.submit(pair.promote)

            def waits() -> bool:
                return any("WAIT" in (process.info or "") for process in replica.processlist())

            until(lambda: promotion.done() or waits(), "the replica waits for itself")
            run(connection, "UNLOCK TABLES")
            assert promotion.result() is replica
    assert one(replica, "SELECT COUNT(*) FROM app.bank_entries") == 1
    pair.rejoin(old, as_replica=True)


def test_a_replica_that_is_behind_gets_the_rest_from_another_before_it_is_promoted(kind: Kind) -> None:
    with ReplicationSet(kind, replicas=2) as servers:
        behind, ahead = servers.replicas
        create_bank(servers.primary)
        dialect_of(behind).stop_receiving(behind)
        with Bank(servers.primary.host, servers.primary.port, clients=4) as bank:
            bank.wait_for_writes()
        servers.primary.kill()
        assert servers.promote(behind) is behind
        bank.check(behind)
        assert servers.replicas == [ahead]
        servers.wait_for_replicas()
        bank.check(ahead)
        behind.execute("CREATE TABLE app.later (id INT)")
        servers.wait_for_replicas()
        assert one(ahead, "SELECT COUNT(*) FROM app.later") == 0


def test_servers_come_back_in_their_roles(pair: Set) -> None:
    (replica,) = pair.replicas
    pair.primary.restart()
    replica.kill()
    replica.start()
    assert (is_read_only(pair.primary), is_read_only(replica)) == (False, True)
    with connect(pair.primary.host, pair.primary.port, ACCOUNTS[0]) as connection:
        run(connection, "CREATE TABLE third (id INT)")
    pair.wait_for_replicas()
    assert one(replica, "SELECT COUNT(*) FROM app.third") == 0
