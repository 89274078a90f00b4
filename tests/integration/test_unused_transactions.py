"""A transaction in which nothing has been done does not keep its connection from those who need one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest
from pymysql.constants import CLIENT

from tests.integration.packets import Packets, status_of_ok
from tests.integration.prepared import Client
from tests.integration.proxy import (
    NATIVE,
    SHA2,
    Proxy,
    backend,
    in_transaction,
    one,
    refused,
    rows,
    run,
    status,
    vanish,
)

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer

READ_ONLY = 0x2000
BEGINS = ["BEGIN", "START TRANSACTION", "START TRANSACTION READ ONLY", "START TRANSACTION READ WRITE", "BEGIN WORK"]


@pytest.mark.parametrize("begin", BEGINS)
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND NO CHAIN"])
def test_others_work_on(narrow: Proxy, table: str, begin: str, end: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for turn in range(3):
            run(session, begin)
            flags = status(session)
            assert in_transaction(session)
            run(other, f"INSERT INTO {table} (value) VALUES (1)")
            session.ping(reconnect=False)
            assert status(session) == flags, "what the proxy answers itself"
            if turn:
                assert one(session, f"SELECT COUNT(*) FROM {table}") == turn + 1
                assert in_transaction(session)
                assert bool(status(session) & READ_ONLY) == ("READ ONLY" in begin)
            run(session, end)
            assert in_transaction(session) == (end == "COMMIT AND CHAIN")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 3
        if end == "COMMIT AND CHAIN":
            # The transaction behind it is as unused, and is as good as the first.
            if "READ ONLY" in begin:
                with refused(1792):
                    run(session, f"INSERT INTO {table} (value) VALUES (2)")
            else:
                run(session, f"INSERT INTO {table} (value) VALUES (2)")
            run(session, "ROLLBACK")
            assert one(other, f"SELECT COUNT(*) FROM {table}") == 3


def test_the_transaction_is_one(narrow: Proxy, table: str) -> None:
    """What is done in it later is committed or rolled back as a whole, and not seen by others before."""
    with narrow.connect() as session, narrow.connect() as other:
        for end, count in [("ROLLBACK", 0), ("COMMIT", 2)]:
            session.begin()
            assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
            run(session, f"INSERT INTO {table} (value) VALUES (1)")
            run(session, f"INSERT INTO {table} (value) VALUES (2)")
            run(session, end)
            assert one(other, f"SELECT COUNT(*) FROM {table}") == count


def test_its_characteristics_are_kept(narrow: Proxy, direct: Connection, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        run(session, "START TRANSACTION READ ONLY")
        run(other, f"INSERT INTO {table} (value) VALUES (1)")
        direct.begin()
        run(direct, f"INSERT INTO {table} (value) VALUES (2)")
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 2, "it sees what is not committed"
        with refused(1792):
            run(session, f"INSERT INTO {table} (value) VALUES (3)")
        session.commit()
        direct.rollback()
        session.begin()
        run(other, "DO 1")
        run(session, f"INSERT INTO {table} (value) VALUES (3)")
        session.commit()


def test_a_chain_keeps_its_characteristics(narrow: Proxy, direct: Connection, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        run(session, "BEGIN")
        run(other, "DO 1")
        run(session, "COMMIT AND CHAIN")
        run(other, "DO 1")
        direct.begin()
        run(direct, f"INSERT INTO {table} (value) VALUES (2)")
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 1
        run(session, "COMMIT AND CHAIN")
        run(other, "DO 1")
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 1
        session.commit()
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 0
        direct.rollback()


def test_release_closes_the_client_s_connection(narrow: Proxy) -> None:
    with narrow.connect() as other:
        session = narrow.connect()
        session.begin()
        run(other, "DO 1")
        run(session, "COMMIT RELEASE")
        assert one(other, "SELECT 1") == 1
        with refused(2013):
            run(session, "DO 1")
        vanish(session)


def test_completion_type(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET completion_type = 'CHAIN'")
        session.begin()
        for _ in range(2):
            run(other, "DO 1")
            assert not in_transaction(other)
            session.commit()
            assert in_transaction(session)
        run(other, "DO 1")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, "ROLLBACK AND NO CHAIN")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


def test_without_autocommit(narrow: Proxy, table: str) -> None:
    with narrow.connect(autocommit=False) as session, narrow.connect() as other:
        run(session, "START TRANSACTION")
        run(other, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
        run(session, "START TRANSACTION")
        assert one(other, "SELECT @@autocommit") == 1
        run(session, "SET autocommit = 1")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1


# What is done first in a transaction that was begun before, and what comes of it. ``{t}`` is a table with one row.
FIRST: list[tuple[str, str]] = [
    ("SAVEPOINT a", "ROLLBACK TO SAVEPOINT a"),
    ("SET @x = 4", "SELECT @x"),
    ("SET time_zone = '+01:00'", "SELECT @@time_zone"),
    ("USE mysql", "SELECT DATABASE()"),
    ("SELECT LAST_INSERT_ID()", "SELECT LAST_INSERT_ID()"),
    ("SHOW WARNINGS", "SELECT @@warning_count"),
    ("CREATE TEMPORARY TABLE tmp (a INT)", "SELECT COUNT(*) FROM tmp"),
    ("SELECT GET_LOCK('unused', 0)", "SELECT IS_FREE_LOCK('unused')"),
    ("DO 1", "SELECT value FROM {t}"),
    ("PREPARE s FROM 'SELECT value FROM {t}'", "EXECUTE s"),
    ("BEGIN", "SELECT value FROM {t}"),
    ("CREATE TABLE IF NOT EXISTS {t} (a INT)", "SELECT value FROM {t}"),
    ("START TRANSACTION WITH CONSISTENT SNAPSHOT", "SELECT value FROM {t}"),
    ("LOCK TABLES {t} READ", "UNLOCK TABLES"),
    ("SET ROLE NONE", "SELECT CURRENT_ROLE() IS NULL OR CURRENT_ROLE() = 'NONE'"),
]


@pytest.mark.parametrize(("first", "then"), FIRST, ids=[first for first, _ in FIRST])
def test_what_is_done_first(
    narrow: Proxy, server: DatabaseServer, direct: Connection, table: str, first: str, then: str
) -> None:
    server.execute(f"INSERT INTO app.{table} (value) VALUES (7)")
    with narrow.connect() as session, narrow.connect() as other:
        found = []
        for each in (direct, session):
            each.begin()
            if each is session:
                run(other, "DO 1")
            seen: list[object] = []
            for sql in (first, then):
                with each.cursor() as cursor:
                    cursor.execute(sql.format(t=table))
                    seen.append(cursor.fetchall())
                seen.append((in_transaction(each), status(each) & READ_ONLY))
            found.append(seen)
            each.rollback()
            run(each, "DO RELEASE_ALL_LOCKS()")
        assert found[0] == found[1]


def test_a_routine_that_is_called_first(narrow: Proxy, server: DatabaseServer, table: str) -> None:
    """It is begun again once more where the routine may find what others have left, so that the connection is reset."""
    server.execute(
        f"DROP PROCEDURE IF EXISTS app.{table}_first",
        f"CREATE PROCEDURE app.{table}_first() BEGIN INSERT INTO app.{table} (value) VALUES (COALESCE(@unset, 1)); END",
    )
    with narrow.connect() as session, narrow.connect() as other:
        session.begin()
        run(other, "DO 1")
        run(session, f"CALL {table}_first()")
        assert in_transaction(session)
        session.rollback()
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 0


@pytest.mark.parametrize("more", ["SAVEPOINT a", "SELECT 1", "DO 1"])
@pytest.mark.parametrize("one_packet", [True, False])
def test_one_in_which_something_was_done_is_kept(
    server: DatabaseServer, folder: Path, more: str, one_packet: bool
) -> None:
    with (
        Proxy(server, folder, max_connections=1, target_group={"connection_borrow_timeout": 1}) as proxy,
        proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as session,
        proxy.connect() as other,
    ):
        if one_packet:
            with session.cursor() as cursor:
                cursor.execute(f"BEGIN; {more}")
                while cursor.nextset():
                    pass
        else:
            run(session, "BEGIN")
            run(session, more)
        with refused(9501):
            run(other, "DO 1")
        if "SAVEPOINT" in more:
            run(session, "ROLLBACK TO SAVEPOINT a")
        session.rollback()
        run(other, "DO 1")


def test_a_snapshot_is_kept(server: DatabaseServer, folder: Path, direct: Connection, table: str) -> None:
    with (
        Proxy(server, folder, max_connections=1, target_group={"connection_borrow_timeout": 1}) as proxy,
        proxy.connect() as session,
        proxy.connect() as other,
    ):
        run(session, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
        run(direct, f"INSERT INTO {table} (value) VALUES (1)")
        with refused(9501):
            run(other, "DO 1")
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 0
        # The one that a chain begins has no snapshot yet.
        run(session, "COMMIT AND CHAIN")
        run(other, "DO 1")
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 1
        session.commit()


def test_nobody_is_asked_as_long_as_there_is_room(proxy: Proxy) -> None:
    with ExitStack() as stack:
        holders = [stack.enter_context(proxy.connect()) for _ in range(3)]
        others = [stack.enter_context(proxy.connect()) for _ in range(3)]
        numbers = []
        for holder in holders:
            holder.begin()
        for _ in range(5):
            numbers += [backend(other) for other in others]
        assert len({backend(holder) for holder in holders} - set(numbers)) == 3
        for holder in holders:
            holder.commit()


def test_many_sessions_with_unused_transactions(narrow: Proxy, table: str) -> None:
    """All begin, then all write: each in its own transaction, though there is one connection."""
    with ExitStack() as stack:
        sessions = [stack.enter_context(narrow.connect()) for _ in range(8)]
        for session in sessions:
            session.begin()

        def work(number: int) -> None:
            session = sessions[number]
            run(session, f"INSERT INTO {table} (value) VALUES ({number})")
            run(session, f"INSERT INTO {table} (value) VALUES ({number})")
            (session.commit if number % 2 else session.rollback)()

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
        counts = rows(sessions[0], f"SELECT value, COUNT(*) FROM {table} GROUP BY value ORDER BY value")
        assert counts == [(number, 2) for number in range(8) if number % 2]


def test_the_next_command_comes_while_the_connection_is_taken(narrow: Proxy, table: str) -> None:
    """Both at once, many times: whoever is first, the statement runs in the transaction."""
    with narrow.connect() as session, narrow.connect() as other, ThreadPoolExecutor(2) as threads:
        for turn in range(30):
            session.begin()
            waiting = threads.submit(run, other, "DO SLEEP(0.001)")
            if turn % 3:
                waiting.result()
            run(session, f"INSERT INTO {table} (value) VALUES (1)")
            assert in_transaction(session)
            session.rollback()
            waiting.result()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


def test_prepared_statements(narrow: Proxy, table: str) -> None:
    with Client(narrow.host, narrow.port) as session, narrow.connect() as other:
        insert = session.prepare(f"INSERT INTO {table} (value) VALUES (?)")
        count = session.prepare(f"SELECT COUNT(*) FROM {table}")
        for _ in range(2):
            session.query("BEGIN")
            run(other, "DO 1")
            session.execute(insert, [5])
            assert session.execute(count) == [(1,)]
            session.query("ROLLBACK")
            session.query("START TRANSACTION READ ONLY")
            run(other, "DO 1")
            later = session.prepare(f"SELECT value + 1 FROM {table}")
            assert session.execute(later) == []
            session.query("COMMIT")


def test_other_commands(narrow: Proxy, table: str) -> None:
    with Packets(narrow.host, narrow.port) as session, narrow.connect() as other:
        session.query("BEGIN")
        run(other, "DO 1")
        assert session.command(0x1B, b"\1\0")[0] in (0x00, 0xFE)  # COM_SET_OPTION
        assert status_of_ok(session.command(0x0E)) & 1  # COM_PING
        assert session.command(0x02, b"mysql")[0] == 0x00  # COM_INIT_DB
        session.query(f"INSERT INTO app.{table} (value) VALUES (1)")
        session.query("ROLLBACK")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
        session.query("BEGIN")
        run(other, "DO 1")
        assert status_of_ok(session.command(0x1F)) & 3 == 2  # COM_RESET_CONNECTION
        session.query(f"INSERT INTO app.{table} (value) VALUES (1)")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1


def test_clients_that_leave(narrow: Proxy, table: str) -> None:
    with narrow.connect() as other:
        for leave in (vanish, pymysql.connections.Connection.close):
            session = narrow.connect()
            session.begin()
            run(other, "DO 1")
            leave(session)
            session = narrow.connect()
            session.begin()
            leave(session)
            run(other, f"INSERT INTO {table} (value) VALUES (1)")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 2


def test_a_connection_that_is_not_to_be_had(server: DatabaseServer, folder: Path, table: str) -> None:
    """An error for the statement; the transaction is still the one that was begun."""
    with (
        Proxy(server, folder, max_connections=1, target_group={"connection_borrow_timeout": 1}) as proxy,
        proxy.connect() as session,
        proxy.connect() as other,
    ):
        session.begin()
        run(other, "BEGIN")
        rows(other, f"SELECT * FROM {table}")
        for _ in range(2):
            with refused(9501):
                run(session, f"INSERT INTO {table} (value) VALUES (1)")
        other.commit()
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        assert in_transaction(session)
        session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


def test_a_schema_that_is_gone(narrow: Proxy, table: str, schema: str, server: DatabaseServer) -> None:
    with narrow.connect(database=schema) as session, narrow.connect() as other:
        session.begin()
        run(other, "DO 1")
        server.execute(f"DROP DATABASE {schema}")
        with refused(1049):
            run(session, "DO 1")
        run(session, f"INSERT INTO app.{table} (value) VALUES (1)")
        assert in_transaction(session)
        session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


def test_connections_of_another_user(server: DatabaseServer, folder: Path, table: str) -> None:
    """Nobody of the same user has one to give: it is closed, and another opened."""
    with (
        Proxy(server, folder, max_connections=1) as proxy,
        proxy.connect(NATIVE) as session,
        proxy.connect(SHA2) as other,
    ):
        for _ in range(2):
            session.begin()
            assert one(other, "SELECT CURRENT_USER()") == f"{SHA2.name}@%"
            run(session, f"INSERT INTO {table} (value) VALUES (1)")
            session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


def test_what_is_set_for_the_next_transaction_goes_with_the_session(
    narrow: Proxy, direct: Connection, table: str
) -> None:
    start = len(narrow.log)
    with narrow.connect() as session, narrow.connect() as other:
        for _ in range(2):
            run(session, "SET TRANSACTION READ ONLY")
            run(other, f"INSERT INTO {table} (value) VALUES (1)")
            run(session, "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
            run(other, f"INSERT INTO {table} (value) VALUES (1)")
            session.ping(reconnect=False)
            session.begin()
            assert status(session) & READ_ONLY
            run(other, f"INSERT INTO {table} (value) VALUES (1)")
            direct.begin()
            run(direct, f"INSERT INTO {table} (value) VALUES (5)")
            assert one(session, f"SELECT COUNT(*) FROM {table} WHERE value = 5") == 1
            direct.rollback()
            session.commit()
            run(session, f"INSERT INTO {table} (value) VALUES (2)")
    assert not [line for line in narrow.log[start:] if "next transaction" in line["event"]]


def test_what_is_set_for_the_next_transaction_and_prepared_statements(narrow: Proxy, table: str) -> None:
    with Client(narrow.host, narrow.port) as session, narrow.connect() as other:
        insert = session.prepare(f"INSERT INTO {table} (value) VALUES (?)")
        session.query("SET time_zone = '+01:00', SESSION TRANSACTION READ WRITE")
        session.query("SET TRANSACTION READ ONLY")
        run(other, f"DELETE FROM {table}")
        with pytest.raises(Exception, match="READ ONLY"):
            session.execute(insert, [1])


def test_a_failed_statement_before_the_next_transaction(proxy: Proxy, table: str) -> None:
    """Whether it has ended what was set is not told by each server; it is never set for too long, or too short."""
    with proxy.connect() as session, proxy.connect() as direct_like:
        run(session, "SET TRANSACTION READ ONLY")
        for _ in range(3):
            with refused(1792):
                run(session, f"INSERT INTO {table} (value) VALUES (1)")
            run(direct_like, "DO 1")
        assert rows(session, f"SELECT * FROM {table}") == []
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
