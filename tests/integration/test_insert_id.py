"""LAST_INSERT_ID() belongs to the session, whichever connection it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.integration.packets import Packets
from tests.integration.proxy import Proxy, one, refused, rows, run, status

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer

LAST = "SELECT LAST_INSERT_ID()"

# {t} is the session's own table; each leaves LAST_INSERT_ID() as something, or as it was.
STATEMENTS = [
    "INSERT INTO {t} (value) VALUES (1)",
    "INSERT INTO {t} (value) VALUES (2), (3), (4)",
    "SELECT 1",
    "INSERT INTO {t} (id, value) VALUES (1000, 5)",
    "INSERT INTO {t} (id, value) VALUES (DEFAULT, 6), (2000, 7)",
    "INSERT INTO {t} (id, value) VALUES (1000, 5) ON DUPLICATE KEY UPDATE value = value + 1",
    "INSERT INTO {t} (id, value) VALUES (1000, 5) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), value = 9",
    "INSERT IGNORE INTO {t} (id, value) VALUES (1000, 5)",
    "REPLACE INTO {t} (value) VALUES (10)",
    "INSERT INTO {t} (value) SELECT value FROM {t} LIMIT 3",
    "UPDATE {t} SET value = LAST_INSERT_ID(value + 100) WHERE id = 1000",
    "SELECT LAST_INSERT_ID(77)",
    "SET LAST_INSERT_ID = 88",
    "SET @@SESSION.last_insert_id = 89",
    "INSERT INTO {t} (value) VALUES (11)",
    "INSERT INTO {t} (value) VALUES (LAST_INSERT_ID())",
    "UPDATE {t} SET value = 0 WHERE id = LAST_INSERT_ID()",
    "DELETE FROM {t} WHERE id = LAST_INSERT_ID()",
    "BEGIN",
    "INSERT INTO {t} (value) VALUES (12)",
    "INSERT INTO {t} (value) VALUES (13)",
    "COMMIT",
    "BEGIN",
    "INSERT INTO {t} (value) VALUES (14)",
    "ROLLBACK",
    "SET autocommit = 0",
    "INSERT INTO {t} (value) VALUES (15)",
    "SELECT COUNT(*) FROM {t}",
    "COMMIT",
    "SET autocommit = 1",
    "TRUNCATE {t}",
    "INSERT INTO {t} (value) VALUES (16)",
    "INSERT INTO {t} (value) VALUES (@@IDENTITY)",
    "DO LAST_INSERT_ID(99)",
    "DO 1",
]
MARIADB = [
    "INSERT INTO {t} (value) VALUES (20) RETURNING id",
    "REPLACE INTO {t} (value) VALUES (21), (22) RETURNING value",
    "INSERT INTO {t} (value) VALUES (23) RETURNING LAST_INSERT_ID()",
]


@pytest.fixture
def tables(server: DatabaseServer) -> list[str]:
    """Three empty tables whose ids begin at very different numbers."""
    names = ["ids_direct", "ids_mine", "ids_other"]
    for name in names:
        server.execute(
            f"DROP TABLE IF EXISTS app.{name}",
            f"CREATE TABLE app.{name} (id INT PRIMARY KEY AUTO_INCREMENT, value BIGINT)",
        )
    server.execute("ALTER TABLE app.ids_other AUTO_INCREMENT = 1000000")
    return names


def test_every_statement(narrow: Proxy, server: DatabaseServer, direct: Connection, tables: list[str]) -> None:
    """After each statement LAST_INSERT_ID() is what it is on a connection without a proxy."""
    its, mine, other_s = tables
    others_inserts = 0
    with narrow.connect() as session, narrow.connect() as other, narrow.connect() as never:
        wrong: list[tuple[object, ...]] = []
        for statement in STATEMENTS + (MARIADB if server.kind == "mariadb" else []):
            with direct.cursor() as cursor:
                cursor.execute(statement.format(t=its))
                expected_id, expected_rows = cursor.lastrowid, cursor.fetchall()
            with session.cursor() as cursor:
                cursor.execute(statement.format(t=mine))
                if (cursor.lastrowid, cursor.fetchall()) != (expected_id, expected_rows):
                    wrong.append((statement, "its reply", expected_id, cursor.lastrowid))
            expected = one(direct, LAST)
            # A second session and one that never inserts get their turns, where there is no transaction.
            if not status(session) & 1:
                if one(never, LAST) != 0:
                    wrong.append((statement, "seen by another", 0, one(never, LAST)))
                run(other, f"INSERT INTO {other_s} (value) VALUES (1)")
                others_inserts += 1
                if one(other, LAST) != 999999 + others_inserts:
                    wrong.append((statement, "another's own", 999999 + others_inserts, one(other, LAST)))
            if (found := [one(session, LAST), one(session, LAST)]) != [expected] * 2:
                wrong.append((statement, "its own", expected, found))
        assert not wrong, "\n".join(map(str, wrong))
        assert rows(session, f"SELECT * FROM {mine}") == rows(direct, f"SELECT * FROM {its}")


def test_an_id_is_used_before_it_is_asked_for(narrow: Proxy, tables: list[str]) -> None:
    """The common idiom: the id of the parent goes straight into the child."""
    _, mine, other_s = tables
    with narrow.connect() as session, narrow.connect() as other:
        for turn in range(1, 4):
            run(session, f"INSERT INTO {mine} (value) VALUES (0)")
            run(other, f"INSERT INTO {other_s} (value) VALUES (0)")
            run(session, f"UPDATE {mine} SET value = LAST_INSERT_ID() WHERE id = {turn}")
            assert one(session, f"SELECT value FROM {mine} WHERE id = {turn}") == turn


def test_an_id_after_an_error(narrow: Proxy, tables: list[str]) -> None:
    _, mine, other_s = tables
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"INSERT INTO {mine} (value) VALUES (0)")
        run(other, f"INSERT INTO {other_s} (value) VALUES (0)")
        with refused(1062):
            run(session, f"INSERT INTO {mine} VALUES (1, 1)")
        with refused(1062):
            run(session, f"INSERT INTO {mine} (id, value) VALUES (DEFAULT, 1), (1, 1)")
        assert one(other, LAST) == 1000000
        assert one(session, LAST) < 1000
        with narrow.connect() as later:
            assert one(later, LAST) == 0


def test_a_failed_statement_may_set_it_too(narrow: Proxy, tables: list[str]) -> None:
    """The id that a failed statement leaves on the connection is nobody else's."""
    _, mine, _ = tables
    with narrow.connect() as session, narrow.connect() as other:
        with refused(1146):
            run(session, f"SELECT LAST_INSERT_ID(123) FROM {mine}, no_such_table")
        with refused(1062):
            run(session, f"INSERT INTO {mine} (id, value) VALUES (DEFAULT, 1), (DEFAULT, 2), (1, 3)")
        assert one(other, LAST) == 0


def test_several_statements_in_one_packet(narrow: Proxy, tables: list[str]) -> None:
    _, mine, other_s = tables
    flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with narrow.connect(client_flag=flags) as session, narrow.connect() as other:
        run(other, f"INSERT INTO {other_s} (value) VALUES (0)")
        with session.cursor() as cursor:
            cursor.execute(f"INSERT INTO {mine} (value) VALUES (1); SELECT LAST_INSERT_ID(); SELECT 1")
            cursor.nextset()
            assert cursor.fetchall() == ((1,),)
            cursor.nextset()
        assert one(other, LAST) == 1000000
        assert one(session, LAST) == 1


def test_a_trigger_and_a_function_that_insert(narrow: Proxy, server: DatabaseServer, tables: list[str]) -> None:
    _, mine, other_s = tables
    server.execute(
        f"CREATE TRIGGER app.ids_trigger AFTER INSERT ON app.{mine} FOR EACH ROW"
        f" INSERT INTO app.{other_s} (value) VALUES (NEW.id)",
    )
    server.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    server.execute("DROP FUNCTION IF EXISTS app.ids_function")
    server.execute(
        f"CREATE FUNCTION app.ids_function() RETURNS INT BEGIN INSERT INTO {other_s} (value) VALUES (1); RETURN 5; END"
    )
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"INSERT INTO {mine} (value) VALUES (1)")
        assert one(other, LAST) == 0
        assert one(session, LAST) == 1
        assert one(session, "SELECT ids_function()") == 5
        assert one(other, LAST) == 0
        assert one(session, LAST) == 1


def test_inserted_in_a_procedure(proxy: Proxy, server: DatabaseServer, tables: list[str]) -> None:
    _, mine, _ = tables
    server.execute("DROP PROCEDURE IF EXISTS app.ids_procedure")
    server.execute(f"CREATE PROCEDURE app.ids_procedure() INSERT INTO {mine} (value) VALUES (1)")
    with proxy.connect() as session, proxy.connect() as other:
        run(session, "CALL ids_procedure()")
        assert one(other, LAST) == 0
        assert one(session, LAST) == 1


def test_an_id_that_is_forced(proxy: Proxy, tables: list[str]) -> None:
    _, mine, other_s = tables
    with proxy.connect() as session, proxy.connect() as other:
        run(session, "SET INSERT_ID = 5000")
        run(other, f"INSERT INTO {other_s} (value) VALUES (1)")
        assert one(other, LAST) == 1000000
        run(session, f"INSERT INTO {mine} (value) VALUES (1)")
        assert one(session, LAST) == 5000


def test_an_id_left_on_a_connection_that_is_not_the_one_held(proxy: Proxy, table: str) -> None:
    """An option that the proxy sets by itself leads the session to another connection, before the id was needed."""
    with proxy.connect() as one_more, proxy.connect() as another:
        for each in (one_more, another):
            run(each, "BEGIN")
            one(each, f"SELECT COUNT(*) FROM {table}")
        for each in (one_more, another):
            run(each, "COMMIT")
        with Packets(proxy.host, proxy.port) as session:
            session.query(f"INSERT INTO {table} (id, value) VALUES (77, 1)")
            session.query(f"INSERT INTO {table} (value) VALUES (2)")
            assert session.command(0x1B, b"\0\0")[0] == 0xFE
            session.query("BEGIN")
            assert session.query(f"SELECT COUNT(*) FROM {table}")[-2] == b"\x012"
            assert session.query(LAST)[-2] == b"\x0278"
            session.query("COMMIT")
            assert session.query(LAST)[-2] == b"\x0278"
