"""Warnings, ROW_COUNT() and FOUND_ROWS() after a statement: the session's own, or an error, never another's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest

from rdsproxy.session.watching import PATIENCE
from tests.integration.packets import Packets
from tests.integration.prepared import Client
from tests.integration.proxy import NATIVE, Proxy, backend, connect, look, one, refused, rows, run
from tests.integration.test_logins import change_user
from tests.servers import Certificates, DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

PAIRS = [
    ("SELECT CAST('1x' AS SIGNED)", "SHOW WARNINGS"),
    ("SELECT 1", "SHOW WARNINGS"),
    ("SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)", "SHOW WARNINGS LIMIT 1"),
    ("SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)", "SHOW COUNT(*) WARNINGS"),
    ("SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)", "SELECT @@warning_count, @@error_count"),
    ("SELECT CAST('1x' AS SIGNED)", "SELECT @@session.warning_count"),
    ("DROP TABLE IF EXISTS no_such_table", "SHOW WARNINGS"),
    ("UPDATE {t} SET value = value + 1", "SELECT ROW_COUNT()"),
    ("UPDATE {t} SET value = 0 WHERE id < 3", "select row_count() as affected"),
    ("DELETE FROM {t} WHERE id = 4", "SELECT ROW_COUNT()"),
    ("INSERT IGNORE INTO {t} VALUES (1, 1, '')", "SHOW WARNINGS"),
    ("SELECT * FROM {t} LIMIT 3", "SELECT FOUND_ROWS()"),
    ("SELECT SQL_CALC_FOUND_ROWS id FROM {t} LIMIT 2", "SELECT FOUND_ROWS()"),
    ("SELECT SQL_CALC_FOUND_ROWS id FROM {t} WHERE id > 2 LIMIT 1", "SELECT `FOUND_ROWS`()"),
    ("SET time_zone = '+01:00'", "SHOW WARNINGS"),
    ("BEGIN; SELECT CAST('1x' AS SIGNED)", "SHOW WARNINGS"),
    ("BEGIN; UPDATE {t} SET value = value + 1", "SELECT ROW_COUNT()"),
    ("BEGIN; INSERT IGNORE INTO {t} (value) VALUES ('3x')", "SHOW WARNINGS"),
]
AFTER_INSERT = [
    ("INSERT INTO {t} VALUES (10, 1, ''), (11, 2, '')", "SELECT ROW_COUNT()"),
    ("INSERT INTO {t} (value) VALUES (20), (21), (22)", "SELECT ROW_COUNT()"),
    ("INSERT IGNORE INTO {t} (value) VALUES ('3x')", "SHOW WARNINGS"),
    ("REPLACE INTO {t} (value) VALUES (20), (21), (22)", "SELECT ROW_COUNT()"),
    ("BEGIN; INSERT IGNORE INTO {t} (value) VALUES ('3x')", "SHOW WARNINGS"),
]
FAILING = [
    ("SELECT * FROM no_such_table", "SHOW ERRORS"),
    ("SELECTX", "SHOW WARNINGS"),
    ("INSERT INTO {t} VALUES (1, 1, '')", "SHOW ERRORS"),
    ("SELECT bogus", "SHOW COUNT(*) ERRORS"),
]


@pytest.fixture
def filled(table: str, direct: Connection) -> str:
    """A table with five rows."""
    run(direct, f"INSERT INTO {table} (value) VALUES (1), (2), (3), (4), (5)")
    return table


def test_the_next_statement_of_the_session(narrow: Proxy, direct: Connection, filled: str) -> None:
    assert differences(narrow, direct, filled, PAIRS) == []


def test_the_next_statement_after_an_insert(narrow: Proxy, direct: Connection, filled: str) -> None:
    assert differences(narrow, direct, filled, AFTER_INSERT) == []


def differences(
    narrow: Proxy, direct: Connection, filled: str, pairs: list[tuple[str, str]], between: str | None = None
) -> list[object]:
    """Run each pair through the proxy and at the server itself; give those that differ.

    `between`: what another session runs on the same connection between the two.
    """
    wrong: list[object] = []
    server = narrow.server
    run(direct, "CREATE TABLE its_own LIKE " + filled)
    run(direct, f"INSERT INTO its_own SELECT * FROM {filled}")
    try:
        for statements, question in pairs:
            with (
                narrow.connect() as session,
                narrow.connect() as other,
                connect(server.host, server.port, NATIVE, server.certificates) as judge,
            ):
                for statement in statements.split("; "):
                    run(judge, statement.format(t="its_own"))
                    run(session, statement.format(t=filled))
                if between is not None:
                    run(other, between)
                expected, found = look(judge, question), look(session, question)
                if str(found) != str(expected).replace("its_own", filled):
                    wrong.append((statements, question, expected, found))
    finally:
        run(direct, "DROP TABLE its_own")
    return wrong


def test_after_an_error(narrow: Proxy, direct: Connection, filled: str) -> None:
    with narrow.connect() as session:
        for statement, question in FAILING:
            for connection in (session, direct):
                with pytest.raises(pymysql.MySQLError):
                    run(connection, statement.format(t=filled))
            assert rows(session, question) == rows(direct, question), statement


BETWEEN = "SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED), CAST('3x' AS SIGNED)"


def test_on_a_connection_that_another_session_has_used(narrow: Proxy, direct: Connection, filled: str) -> None:
    pairs = [pair for pair in PAIRS + AFTER_INSERT if "BEGIN" not in pair[0]]
    assert differences(narrow, direct, filled, pairs, BETWEEN) == []


ERRORS = ["SHOW ERRORS", "SHOW WARNINGS", "SHOW COUNT(*) ERRORS", "SELECT @@error_count", "SELECT ROW_COUNT()"]


@pytest.mark.parametrize("question", ERRORS)
def test_an_error_on_a_connection_that_another_session_has_used(
    narrow: Proxy, direct: Connection, filled: str, question: str
) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for statement, _ in FAILING:
            for connection in (session, direct):
                with pytest.raises(pymysql.MySQLError):
                    run(connection, statement.format(t=filled))
            run(other, BETWEEN)
            assert look(session, question) == look(direct, question), statement


def test_asked_again_and_again(narrow: Proxy, direct: Connection) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            run(connection, "SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)")
        for question in (
            "SHOW WARNINGS",
            "SHOW WARNINGS LIMIT 1",
            "SHOW WARNINGS LIMIT 1, 5",
            "show errors",
            "SHOW WARNINGS;",
            "SHOW COUNT(*) WARNINGS",
        ):
            run(other, BETWEEN)
            assert look(session, question) == look(direct, question), question


def test_found_rows_of_rows_from_another_connection(narrow: Proxy, direct: Connection, filled: str) -> None:
    """What the statements since have left alone is brought to the connection that they run on."""
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            rows(connection, f"SELECT id FROM {filled}")
        run(other, BETWEEN)
        for connection, row in ((session, 1), (direct, 3)):
            run(connection, "BEGIN")
            run(connection, f"UPDATE {filled} SET value = 9 WHERE id = {row}")
        assert rows(session, "SELECT FOUND_ROWS()") == rows(direct, "SELECT FOUND_ROWS()")
        for connection, row in ((session, 1), (direct, 3)):
            rows(connection, f"SELECT id FROM {filled} LIMIT 2")
            run(connection, f"UPDATE {filled} SET value = 8 WHERE id = {row}")
        assert rows(session, "SELECT FOUND_ROWS()") == rows(direct, "SELECT FOUND_ROWS()")
        for connection in (session, direct):
            run(connection, "ROLLBACK")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM {t} LIMIT 1, 2",
        "SELECT id FROM {t} UNION ALL SELECT 7 LIMIT 3",
        "SELECT COUNT(*) FROM {t} WHERE 1 = 0",
        "SELECT id FROM {t} WHERE id > 77",
        "SHOW COLUMNS FROM {t}",
        "EXPLAIN SELECT * FROM {t}",
        "DO 1",
        "UPDATE {t} SET value = value + 1 WHERE id IN (2, 3)",
        "SELECT SQL_CALC_FOUND_ROWS id FROM {t} LIMIT 2",
        "SELECT no_such_column FROM {t}",
    ],
)
def test_found_rows_that_no_reply_tells(narrow: Proxy, direct: Connection, filled: str, statement: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            look(connection, f"SELECT id FROM {filled} LIMIT 4")
        run(other, BETWEEN)
        for connection in (session, direct):
            look(connection, statement.format(t=filled))
        run(other, BETWEEN)
        expected = rows(direct, "SELECT FOUND_ROWS() AS f, ROW_COUNT()")
        assert rows(session, "SELECT FOUND_ROWS() AS f, ROW_COUNT()") == expected


@pytest.mark.parametrize("count", [0, 1, 10, 11, 1000])
def test_any_found_rows_are_brought_to_another_connection(
    narrow: Proxy, direct: Connection, table: str, count: int
) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(direct, f"INSERT INTO {table} (value) VALUES (0), " + ", ".join(["(1)"] * 1000))
        assert len(rows(session, f"SELECT id FROM {table} WHERE value = 1 LIMIT {count}")) == count
        run(other, BETWEEN)
        assert one(session, "SELECT FOUND_ROWS()") == count


def test_found_rows_of_users_who_never_read_them(
    server: DatabaseServer, direct: Connection, filled: str, folder: Path
) -> None:
    """They are not asked for any more after a while. Those that replies tell are known all the same."""
    with (
        Proxy(server, folder, max_connections=1) as proxy,
        proxy.connect() as session,
        proxy.connect() as other,
    ):
        for _ in range(PATIENCE):
            run(session, f"UPDATE {filled} SET value = 1 WHERE id = 1")
            run(other, f"UPDATE {filled} SET value = 2 WHERE id = 1")
        for question in ("SELECT id FROM {t} WHERE id < 4", "SELECT SQL_CALC_FOUND_ROWS id FROM {t} LIMIT 1"):
            for connection in (session, direct):
                rows(connection, question.format(t=filled))
            run(other, BETWEEN)
            assert rows(session, "SELECT FOUND_ROWS()") == rows(direct, "SELECT FOUND_ROWS()")
        uncounted = f"SELECT id FROM {filled} LIMIT 1, 2"
        for error in (1105, None):
            for connection in (session, direct):
                rows(connection, uncounted)
            run(other, BETWEEN)
            expected = look(direct, "SELECT FOUND_ROWS()")
            assert look(session, "SELECT FOUND_ROWS()") == (error or expected)


def test_what_is_told_in_a_text_with_quotes(narrow: Proxy, direct: Connection, filled: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            run(connection, f"UPDATE {filled} SET value = value + 7 WHERE id IN (2, 3)")
        run(other, BETWEEN)
        question = "SELECT 'ROW_COUNT()' AS `ROW_COUNT()`, ROW_COUNT(), row_count ( ) /* ROW_COUNT() */"
        with session.cursor() as found, direct.cursor() as expected:
            found.execute(question)
            expected.execute(question)
            assert found.description == expected.description
            assert found.fetchall() == expected.fetchall() == (("ROW_COUNT()", 2, 2),)


GETS = [
    "GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT",
    "GET CURRENT DIAGNOSTICS CONDITION 1 @a = RETURNED_SQLSTATE, @b = MESSAGE_TEXT, @`n` = MYSQL_ERRNO",
    "GET DIAGNOSTICS CONDITION 1 @a = CLASS_ORIGIN, @b = SUBCLASS_ORIGIN, @c = CURSOR_NAME, @d = SCHEMA_NAME",
    "GET DIAGNOSTICS CONDITION 1 @a = TABLE_NAME, @b = COLUMN_NAME, @c = CONSTRAINT_NAME, @d = CATALOG_NAME",
    "GET DIAGNOSTICS CONDITION 2 @a = RETURNED_SQLSTATE, @b = MESSAGE_TEXT",
    "GET DIAGNOSTICS CONDITION '1' @n = MYSQL_ERRNO; ",
    "GET DIAGNOSTICS CONDITION @two @a = MESSAGE_TEXT",
    "GET DIAGNOSTICS CONDITION 0 @a = MESSAGE_TEXT",
    "GET DIAGNOSTICS @n = NO_SUCH_ITEM",
]
GOT = "SELECT @n, @r, @a, @b, @c, @d, IF(@a IS NULL, 1, CHARSET(@a)), IF(@b IS NULL, 1, COLLATION(@b))"


@pytest.mark.parametrize("get", GETS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT CAST('1é' AS SIGNED), CAST('2x' AS SIGNED)",
        "SELECT * FROM no_such_table",
        "SIGNAL SQLSTATE '01234' SET MESSAGE_TEXT = 'é', MYSQL_ERRNO = 1265, TABLE_NAME = 't', CONSTRAINT_NAME = 'c'",
        "SIGNAL SQLSTATE '45000'",
        "UPDATE {t} SET value = value + 1",
    ],
)
def test_get_diagnostics_from_another_connection(
    narrow: Proxy, direct: Connection, filled: str, statement: str, get: str
) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            run(connection, "SET @two = 2")
            look(connection, statement.format(t=filled))
        run(other, BETWEEN)
        assert look(session, get) == look(direct, get)
        run(other, BETWEEN)
        # It leaves alone what it reads.
        assert look(session, "SHOW WARNINGS") == look(direct, "SHOW WARNINGS")
        assert rows(session, GOT) == rows(direct, GOT)
        assert not one(other, "SELECT @rdsproxy.1.MESSAGE_TEXT IS NOT NULL")
        assert backend(session) == backend(other), "it holds nothing"


def test_row_numbers(mariadb: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    """MariaDB tells which row a condition is about."""
    mariadb.create_user(NATIVE.name, NATIVE.password, grants=["ALL PRIVILEGES ON *.*"])
    with Proxy(mariadb, folder, max_connections=1) as proxy, proxy.connect() as session, proxy.connect() as other:
        run(session, "CREATE TABLE numbered (a TINYINT)")
        run(session, "INSERT IGNORE INTO numbered VALUES (1), (2000), (3000)")
        run(other, BETWEEN)
        run(session, "GET DIAGNOSTICS CONDITION 2 @n = ROW_NUMBER")
        assert one(session, "SELECT @n") == 3
        run(session, "DROP TABLE numbered")


def test_get_diagnostics_of_users_who_never_did(server: DatabaseServer, direct: Connection, folder: Path) -> None:
    """What only GET DIAGNOSTICS tells of warnings is not asked for any more after a while."""
    with (
        Proxy(server, folder, max_connections=1) as proxy,
        proxy.connect() as session,
        proxy.connect() as other,
    ):
        for _ in range(PATIENCE // 2):
            for each in (session, other):
                run(each, "SELECT CAST('1x' AS SIGNED)")
        for statement, get in (
            ("SELECT CAST('1x' AS SIGNED)", "GET DIAGNOSTICS CONDITION 1 @n = MYSQL_ERRNO, @b = MESSAGE_TEXT"),
            ("SELECT * FROM no_such_table", "GET DIAGNOSTICS CONDITION 1 @a = RETURNED_SQLSTATE, @b = MESSAGE_TEXT"),
        ):
            for connection in (session, direct):
                look(connection, statement)
            run(other, BETWEEN)
            for connection in (session, direct):
                run(connection, get)
            assert rows(session, GOT) == rows(direct, GOT)
            # The next one has to be the first again.
            session.ping()
    with (
        Proxy(server, folder, max_connections=1) as proxy,
        proxy.connect() as session,
        proxy.connect() as other,
    ):
        for _ in range(PATIENCE // 2):
            for each in (session, other):
                run(each, "SELECT CAST('1x' AS SIGNED)")
        for error in (1105, 0):
            run(session, "SELECT CAST('1x' AS SIGNED)")
            run(other, BETWEEN)
            found = look(session, "GET DIAGNOSTICS CONDITION 1 @a = RETURNED_SQLSTATE")
            assert found == (error or [])


@pytest.mark.parametrize("harmless", ["SET time_zone = '+01:00'", "BEGIN", "DO 1", "SELECT 1", "USE app", "COMMIT"])
def test_warnings_that_last(narrow: Proxy, direct: Connection, filled: str, harmless: str) -> None:
    """On MariaDB they do so through statements without a table, on whichever connection."""
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            run(connection, "SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)")
        run(other, BETWEEN)
        for statement in (harmless, harmless, "COMMIT"):
            for connection in (session, direct):
                run(connection, statement)
            if statement == "COMMIT":
                run(other, BETWEEN)
            expected = look(direct, "SHOW WARNINGS"), look(direct, "SELECT @@warning_count, @@error_count")
            found = look(session, "SHOW WARNINGS"), look(session, "SELECT @@warning_count, @@error_count")
            assert found == expected
        for connection in (session, direct):
            rows(connection, f"SELECT id FROM {filled}")
        assert look(session, "SHOW WARNINGS") == look(direct, "SHOW WARNINGS") == []
        run(direct, "SET time_zone = DEFAULT")


def test_commands_that_no_connection_sees(narrow: Proxy, direct: Connection, filled: str) -> None:
    """COM_PING is answered by the proxy, as if it had gone to the session's own connection."""
    for statement in (f"UPDATE {filled} SET value = value + 1", "SELECT CAST('1x' AS SIGNED)"):
        for question in ("SELECT ROW_COUNT()", "SHOW WARNINGS", "SELECT FOUND_ROWS()"):
            with narrow.connect() as session:
                for connection in (session, direct):
                    run(connection, "SELECT 1")
                    run(connection, statement)
                    connection.ping()
                assert rows(session, question) == rows(direct, question)


PREPARED = ["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SELECT ? + ROW_COUNT() * 10, FOUND_ROWS()"]
PREPARED_ON_MARIADB = [
    "SHOW WARNINGS",
    "SHOW WARNINGS LIMIT 1, 5",
    "SHOW ERRORS",
    "SHOW COUNT(*) WARNINGS",
    "SELECT @@warning_count, @@session.error_count",
    "GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT",
]


@pytest.mark.parametrize("cursor", [False, True], ids=["rows", "cursor"])
@pytest.mark.parametrize("before", [None, BETWEEN], ids=["at once", "later"])
def test_in_prepared_statements(
    narrow: Proxy, server: DatabaseServer, filled: str, before: str | None, cursor: bool
) -> None:
    texts = PREPARED + (PREPARED_ON_MARIADB if server.kind == "mariadb" else [])
    with (
        Client(narrow.host, narrow.port) as session,
        Client(server.host, server.port) as judge,
        narrow.connect() as other,
    ):
        numbers = [(judge.prepare(text), session.prepare(text)) for text in texts]
        for number, (its, mine) in enumerate(numbers * 2):
            parameters = [7] if "?" in texts[number % len(texts)] else []
            answers = []
            for client, statement in ((judge, its), (session, mine)):
                for sql in (
                    f"UPDATE IGNORE {filled} SET value = value + '1x' WHERE id > 2",
                    "SELECT * FROM no_such_table",
                )[: number % 2 + 1]:
                    client.query(sql)
                if before is not None and client is session:
                    run(other, before)
                found = client.execute(statement, parameters, cursor=cursor)
                if cursor and not found and client.is_open:
                    found = client.fetch(statement, 9)
                answers.append((found, client.types if found else []))
            assert answers[0] == answers[1], texts[number % len(texts)]


def test_a_prepared_statement_here_and_elsewhere_in_turn(narrow: Proxy, filled: str) -> None:
    """A copy with the statement's own text is not taken for one that is told."""
    with Client(narrow.host, narrow.port) as session, narrow.connect() as other:
        number = session.prepare("SELECT ROW_COUNT()")
        for count in (1, 2, 3, 4):
            session.query(f"UPDATE {filled} SET value = value + 1 WHERE id <= {count}")
            if count % 2:
                run(other, BETWEEN)
            assert session.execute(number) == [(count,)]


@pytest.mark.parametrize("question", ["SELECT /*! ROW_COUNT() */", "EXECUTE IMMEDIATE 'SELECT ROW_COUNT()'"])
def test_nothing_is_put_where_it_cannot_be(
    narrow: Proxy, server: DatabaseServer, filled: str, question: str
) -> None:
    if "IMMEDIATE" in question and server.kind != "mariadb":
        pytest.skip("only mariadb has it")
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"UPDATE {filled} SET value = value + 1 WHERE id < 3")
        assert one(session, question) == 2
        run(session, f"UPDATE {filled} SET value = value + 1 WHERE id < 4")
        run(other, BETWEEN)
        with refused(1105, "gone"):
            run(session, question)


@pytest.mark.parametrize("between", [None, BETWEEN], ids=["at once", "later"])
def test_found_rows_in_a_procedure(narrow: Proxy, direct: Connection, filled: str, between: str | None) -> None:
    """Its definition is asked first."""
    run(direct, "DROP PROCEDURE IF EXISTS reads_found_rows")
    run(direct, "CREATE PROCEDURE reads_found_rows() SELECT FOUND_ROWS()")
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            run(connection, f"SELECT id FROM {filled} WHERE id < 4")
        if between is not None:
            run(other, between)
        assert rows(session, "CALL reads_found_rows()") == rows(direct, "CALL reads_found_rows()")
    run(direct, "DROP PROCEDURE reads_found_rows")


def test_insert_ids_and_diagnostics_cost_no_connection(narrow: Proxy, filled: str) -> None:
    """Sessions that insert and read what they have made take turns on one connection."""
    with narrow.connect() as session, narrow.connect() as other:
        for _ in range(3):
            for each in (session, other):
                run(each, f"INSERT INTO {filled} (value) VALUES (1), (2)")
            first, second = one(session, "SELECT LAST_INSERT_ID()"), one(other, "SELECT LAST_INSERT_ID()")
            assert second == first + 2
            assert one(session, "SELECT LAST_INSERT_ID()") == first
        assert backend(session) == backend(other)


def test_of_a_session_that_has_run_nothing(narrow: Proxy) -> None:
    with narrow.connect() as other:
        run(other, "SELECT CAST('1x' AS SIGNED)")
        with Packets(narrow.host, narrow.port) as fresh:
            reply = fresh.query("SHOW WARNINGS")
            assert len(reply) == 6, "three columns, no rows"


def test_counted_rows_are_found_behind_other_statements(proxy: Proxy, filled: str) -> None:
    with proxy.connect() as session, proxy.connect() as other:
        run(session, f"SELECT SQL_CALC_FOUND_ROWS id FROM {filled} LIMIT 1")
        for _ in range(3):
            one(other, f"SELECT COUNT(*) FROM {filled}")
        assert one(session, "SELECT FOUND_ROWS()") == 5


def test_warnings_outlive_a_change_of_schema_elsewhere(proxy: Proxy, direct: Connection) -> None:
    """MySQL keeps them through COM_INIT_DB, whose reply counts them."""
    with proxy.connect() as session, proxy.connect() as other, proxy.connect() as third:
        for connection in (session, direct):
            look(connection, "SELECT FOUND_ROWS()")
            if connection is session:
                run(other, "SELECT FOUND_ROWS()")
                run(third, "SELECT FOUND_ROWS()")
            connection.select_db("app")
        assert rows(session, "SHOW WARNINGS") == rows(direct, "SHOW WARNINGS")


@pytest.mark.parametrize("before", ["SELECT id FROM {t} LIMIT 2", "SELECT SQL_CALC_FOUND_ROWS id FROM {t} LIMIT 1"])
def test_found_rows_outlives_another_login(narrow: Proxy, filled: str, before: str) -> None:
    """Both servers keep it through COM_CHANGE_USER."""
    with Client(narrow.host, narrow.port, NATIVE) as session, narrow.connect() as other:
        run(other, "SELECT FOUND_ROWS()")  # so that the proxy asks for it
        session.query(before.format(t=filled))
        run(other, f"SELECT id FROM {filled}")
        assert change_user(session, NATIVE, NATIVE.password)[-1][0] == 0
        run(other, f"SELECT id FROM {filled}")
        assert session.one("SELECT FOUND_ROWS()") == ("5" if "CALC" in before else "2")


def test_counted_rows_hold_no_connection(narrow: Proxy, filled: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"SELECT SQL_CALC_FOUND_ROWS id FROM {filled} LIMIT 1")
        assert one(other, "SELECT 1") == 1
        assert one(session, "SELECT FOUND_ROWS()") == 5


def test_a_definition_reads_nothing(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        one(other, "SELECT 1")
        run(session, "DROP PROCEDURE IF EXISTS reads_diagnostics")
        one(other, "SELECT 1")
        run(session, "CREATE PROCEDURE reads_diagnostics() BEGIN SELECT ROW_COUNT(); SELECT FOUND_ROWS(); END")
        assert one(other, "SELECT 1") == 1
        run(session, "DROP PROCEDURE reads_diagnostics")


def test_in_one_packet(narrow: Proxy, filled: str) -> None:
    flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with narrow.connect(client_flag=flags) as session, narrow.connect() as other, session.cursor() as cursor:
        one(other, "SELECT 1")
        cursor.execute(f"UPDATE {filled} SET text = ';'; SELECT ROW_COUNT()")
        cursor.nextset()
        assert cursor.fetchall() == ((5,),)
        cursor.nextset()
        cursor.execute(f"UPDATE {filled} SET text = 'x' WHERE id < 3")
        run(other, "SELECT CAST('1x' AS SIGNED)")
        cursor.execute("SELECT ';' AS `;`, ROW_COUNT(); SELECT ROW_COUNT()")
        assert cursor.fetchall() == ((";", 2),)
        cursor.nextset()
        assert cursor.fetchall() == ((-1,),)


def test_warnings_before_another_statement_in_one_packet(narrow: Proxy) -> None:
    """That is the one form which is not told from memory."""
    flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with narrow.connect(client_flag=flags) as session, narrow.connect() as other:
        run(session, "SELECT CAST('1x' AS SIGNED)")
        run(other, "SELECT 1")
        with refused(1105, "gone"):
            run(session, "SHOW WARNINGS; SELECT 1")


def test_the_warning_count_of_each_reply(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other, session.cursor() as cursor:
        for expected, sql in ((2, "SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)"), (0, "SELECT 1")):
            cursor.execute(sql)
            assert cursor.warning_count == expected
            one(other, "SELECT 1")
