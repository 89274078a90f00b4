"""A transaction keeps its connection, and nothing of it outlives its client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tests.integration.packets import Packets
from tests.integration.proxy import Proxy, backend, in_transaction, one, refused, rows, run, status, vanish

if TYPE_CHECKING:
    from tests.servers import DatabaseServer

IN_TRANSACTION_READ_ONLY = 0x2000


def test_a_transaction_keeps_its_connection(proxy: Proxy, table: str) -> None:
    with proxy.connect() as first, proxy.connect() as second:
        first.begin()
        number = backend(first)
        for value in range(5):
            assert backend(second) != number
            run(first, f"INSERT INTO {table} (value) VALUES (%s)", value)
            assert in_transaction(first)
            assert backend(first) == number
            assert one(second, f"SELECT COUNT(*) FROM {table}") == 0
            assert not in_transaction(second)
        first.commit()
        assert not in_transaction(first)
        assert one(second, f"SELECT COUNT(*) FROM {table}") == 5


def test_a_transaction_ends_by_any_means(narrow: Proxy, server: DatabaseServer, table: str) -> None:
    """After each of these the only connection is free for another session."""
    begins = ["BEGIN", "START TRANSACTION", "START TRANSACTION READ ONLY", "START TRANSACTION WITH CONSISTENT SNAPSHOT"]
    ends = ["COMMIT", "ROLLBACK", f"ALTER TABLE {table} COMMENT 'x'", "COMMIT AND NO CHAIN", "ROLLBACK WORK"]
    with narrow.connect() as session, narrow.connect() as other:
        for begin in begins:
            for end in ends:
                if "READ ONLY" in begin and "ALTER" in end:
                    continue
                run(session, begin)
                one(session, f"SELECT COUNT(*) FROM {table}")
                assert in_transaction(session)
                assert bool(status(session) & IN_TRANSACTION_READ_ONLY) == ("READ ONLY" in begin)
                run(session, end)
                assert not in_transaction(session)
                assert one(other, "SELECT 1") == 1
        run(session, "BEGIN")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, "COMMIT AND CHAIN")
        assert in_transaction(session)
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        run(session, "ROLLBACK")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1


def test_autocommit_off(narrow: Proxy, table: str) -> None:
    with narrow.connect(autocommit=False) as session, narrow.connect() as other:
        assert one(other, "SELECT @@autocommit") == 1
        assert one(session, "SELECT @@autocommit") == 0
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        assert in_transaction(session)
        session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        session.commit()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
        run(session, f"INSERT INTO {table} (value) VALUES (3)")
        run(session, "SET autocommit = 1")  # commits
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 2


def test_savepoints(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session:
        session.begin()
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, "SAVEPOINT here")
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        run(session, "ROLLBACK TO SAVEPOINT here")
        assert in_transaction(session)
        session.commit()
        assert rows(session, f"SELECT value FROM {table}") == [(1,)]


def test_a_transaction_in_one_packet(narrow: Proxy, table: str) -> None:
    flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with narrow.connect(client_flag=flags) as session, narrow.connect() as other:
        run(session, f"BEGIN; INSERT INTO {table} (value) VALUES (1); COMMIT")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
        with session.cursor() as cursor:
            cursor.execute(f"BEGIN; INSERT INTO {table} (value) VALUES (2)")
            while cursor.nextset():
                pass
        assert in_transaction(session)
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 2
        session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1


@pytest.mark.parametrize("leave", [vanish, pymysql.connections.Connection.close], ids=["vanish", "quit"])
def test_a_client_that_leaves_in_a_transaction(proxy: Proxy, table: str, leave: Any) -> None:
    with proxy.connect() as other:
        run(other, f"INSERT INTO {table} VALUES (1, 10, 'x')")
        leaver = proxy.connect()
        leaver.begin()
        run(leaver, f"UPDATE {table} SET value = 11 WHERE id = 1")
        run(leaver, f"INSERT INTO {table} VALUES (2, 20, 'y')")
        leave(leaver)
        # These wait for the leaver's locks, which end with its transaction.
        assert run(other, f"UPDATE {table} SET value = value + 100 WHERE id = 1") == 1
        run(other, f"INSERT INTO {table} VALUES (2, 30, 'z')")
        assert rows(other, f"SELECT id, value FROM {table} ORDER BY id") == [(1, 110), (2, 30)]


def test_the_next_transaction_s_characteristics(proxy: Proxy, table: str) -> None:
    """A transaction that is READ UNCOMMITTED sees what another has not committed."""
    count = f"SELECT COUNT(*) FROM {table}"
    with proxy.connect() as writer, proxy.connect() as session, proxy.connect() as other:
        writer.begin()
        run(writer, f"INSERT INTO {table} (value) VALUES (1)")
        for _ in range(2):
            run(session, "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
            other.begin()
            assert one(other, count) == 0
            session.begin()
            assert one(session, count) == 1
            assert one(other, count) == 0
            session.commit()
            other.commit()
            session.begin()
            assert one(session, count) == 0
            session.commit()
        writer.rollback()


def test_the_next_transaction_s_characteristics_end_with_it(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET TRANSACTION READ ONLY")
        session.begin()
        with refused(1792):
            run(session, f"INSERT INTO {table} (value) VALUES (1)")
        session.rollback()
        run(other, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        run(other, f"INSERT INTO {table} (value) VALUES (3)")
        # Without BEGIN the next statement that reads or writes is the transaction.
        run(session, "SET TRANSACTION READ ONLY")
        with refused(1792):
            run(session, f"INSERT INTO {table} (value) VALUES (4)")
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 3
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 3
        run(session, f"INSERT INTO {table} (value) VALUES (4)")


def test_an_error_in_a_transaction(proxy: Proxy, table: str) -> None:
    with proxy.connect() as session, proxy.connect() as other:
        session.begin()
        run(session, f"INSERT INTO {table} VALUES (1, 1, '')")
        number = backend(session)
        with refused(1062):
            run(session, f"INSERT INTO {table} VALUES (1, 2, '')")
        with refused(1064):
            run(session, "SELECTX")
        with refused(1146):
            run(session, "SELECT * FROM no_such_table")
        assert backend(session) == number
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
        session.commit()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1


def test_an_error_outside_of_a_transaction(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"INSERT INTO {table} VALUES (1, 1, '')")
        for statement, code in [
            (f"INSERT INTO {table} VALUES (1, 2, '')", 1062),
            ("SELECTX", 1064),
            ("SELECT * FROM no_such_table", 1146),
            ("SET no_such_variable = 1", 1193),
        ]:
            with refused(code):
                run(session, statement)
            assert one(other, "SELECT @@autocommit") == 1


def test_an_error_with_autocommit_off(proxy: Proxy, table: str) -> None:
    with proxy.connect(autocommit=False) as session, proxy.connect() as other:
        with refused(1146):
            run(session, "SELECT * FROM no_such_table")
        run(session, f"INSERT INTO {table} VALUES (1, 1, '')")
        with refused(1062):
            run(session, f"INSERT INTO {table} VALUES (1, 1, '')")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
        session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


def test_a_set_that_fails_half_way(proxy: Proxy) -> None:
    """MariaDB and MySQL differ in what is set by then; what counts is that it is the setter's alone."""
    flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with proxy.connect(client_flag=flags) as session, proxy.connect() as other:
        with refused(1054), session.cursor() as cursor:
            cursor.execute("SET sql_select_limit = 5; SELECT bogus")
            cursor.nextset()
        assert one(other, "SELECT @@sql_select_limit") > 5
        assert one(session, "SELECT @@sql_select_limit") == 5
        with refused(1193):
            run(session, "SET sql_select_limit = 6, no_such_variable = 3")
        limit = one(session, "SELECT @@sql_select_limit")
        assert one(other, "SELECT @@sql_select_limit") > 6
        assert one(session, "SELECT @@sql_select_limit") == limit


def test_a_deadlock_ends_the_transaction_of_one(proxy: Proxy, table: str) -> None:
    with proxy.connect() as first, proxy.connect() as second, proxy.connect() as third, ThreadPoolExecutor(1) as thread:
        run(first, f"INSERT INTO {table} VALUES (1, 0, ''), (2, 0, '')")
        first.begin()
        second.begin()
        run(first, f"UPDATE {table} SET value = 1 WHERE id = 1")
        run(second, f"UPDATE {table} SET value = 2 WHERE id = 2")
        crossing = thread.submit(run, first, f"UPDATE {table} SET value = 1 WHERE id = 2")
        errors: list[Any] = []
        try:
            run(second, f"UPDATE {table} SET value = 2 WHERE id = 1")
        except pymysql.MySQLError as error:
            errors.append(error.args[0])
        if (failed := crossing.exception()) is not None:
            errors.append(failed.args[0])
        assert errors == [1213]
        victim = first if failed else second
        winner = second if victim is first else first
        # The victim's transaction is over: this commits by itself.
        run(victim, f"INSERT INTO {table} VALUES (3, 3, '')")
        assert not in_transaction(victim)
        assert one(third, f"SELECT COUNT(*) FROM {table}") == 3
        assert in_transaction(winner)
        winner.commit()
        expected = 1 if winner is first else 2
        assert rows(third, f"SELECT value FROM {table} WHERE id < 3") == [(expected,), (expected,)]


def test_a_lock_wait_timeout_does_not_end_the_transaction(proxy: Proxy, table: str) -> None:
    with proxy.connect() as holder, proxy.connect() as waiter, proxy.connect() as third:
        run(holder, f"INSERT INTO {table} VALUES (1, 0, '')")
        holder.begin()
        run(holder, f"UPDATE {table} SET value = 1 WHERE id = 1")
        run(waiter, "SET innodb_lock_wait_timeout = 1")
        waiter.begin()
        run(waiter, f"INSERT INTO {table} VALUES (2, 2, '')")
        with refused(1205):
            run(waiter, f"UPDATE {table} SET value = 2 WHERE id = 1")
        assert one(third, f"SELECT COUNT(*) FROM {table}") == 1
        waiter.commit()
        assert one(third, f"SELECT COUNT(*) FROM {table}") == 2
        holder.rollback()


def test_a_client_that_leaves_in_mid_reply(narrow: Proxy) -> None:
    """The rest of the reply is not for the next session on the connection."""
    leaver = Packets(narrow.host, narrow.port)
    leaver.send(
        b"\x03WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "
        b"SELECT i, REPEAT('x', 50000) FROM n"
    )
    leaver.packet()
    leaver.close()
    with narrow.connect() as other:
        for number in range(20):
            assert rows(other, f"SELECT {number}, 'mine'") == [(number, "mine")]


def test_a_client_that_leaves_during_its_statement(narrow: Proxy, server: DatabaseServer) -> None:
    leaver = narrow.connect()
    leaver._execute_command(3, "SELECT SLEEP(0.5)")  # type: ignore[attr-defined]
    vanish(leaver)
    with narrow.connect() as other:
        assert rows(other, "SELECT 'mine'") == [("mine",)]


def test_xa(proxy: Proxy, server: DatabaseServer, table: str) -> None:
    with proxy.connect() as session, proxy.connect() as other:
        run(session, "XA START 'a transaction'")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, "XA END 'a transaction'")
        run(session, "XA PREPARE 'a transaction'")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
        run(session, "XA COMMIT 'a transaction'")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
        assert not in_transaction(session)


def test_an_xa_transaction_of_a_client_that_left(proxy: Proxy, server: DatabaseServer, table: str) -> None:
    leaver = proxy.connect()
    run(leaver, "XA START 'left behind'")
    run(leaver, f"INSERT INTO {table} VALUES (1, 1, '')")
    vanish(leaver)
    with proxy.connect() as other:
        run(other, f"INSERT INTO {table} VALUES (1, 2, '')")
        assert rows(other, f"SELECT value FROM {table}") == [(2,)]
        assert rows(other, "XA RECOVER") == []


@pytest.mark.parametrize("end", ["COMMIT RELEASE", "ROLLBACK WORK RELEASE"])
def test_release_ends_the_client_s_connection(narrow: Proxy, table: str, end: str) -> None:
    """As on a server; and nobody else is given the database connection that the server closes."""
    with narrow.connect() as other:
        for turn in range(1, 4):
            session = narrow.connect()
            run(session, "BEGIN")
            run(session, f"INSERT INTO {table} (value) VALUES (1)")
            run(session, end)
            assert one(other, f"SELECT COUNT(*) FROM {table}") == (turn if end.startswith("COMMIT") else 0)
            with pytest.raises(pymysql.MySQLError):
                run(session, "SELECT 1")
            session._force_close()  # type: ignore[attr-defined]


def test_a_completion_type_of_release_is_for_its_own_session_only(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET completion_type = 'RELEASE'")
        run(session, "BEGIN")
        run(session, "COMMIT")
        assert one(other, "SELECT @@completion_type") == "NO_CHAIN"
        run(other, "BEGIN")
        run(other, f"INSERT INTO {table} (value) VALUES (1)")
        run(other, "COMMIT")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
