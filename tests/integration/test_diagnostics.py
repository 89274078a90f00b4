"""Warnings, ROW_COUNT() and FOUND_ROWS() after a statement: the session's own, or an error, never another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.integration.packets import Packets
from tests.integration.proxy import NATIVE, Proxy, backend, connect, look, one, refused, rows, run

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


def lends(statement: str) -> bool:
    """Tell whether the session gives its connection back."""
    return "SQL_CALC_FOUND_ROWS" not in statement and "BEGIN" not in statement


def test_on_a_connection_that_another_session_has_used(narrow: Proxy, direct: Connection, filled: str) -> None:
    pairs = [pair for pair in PAIRS + AFTER_INSERT if lends(pair[0]) and "FOUND_ROWS" not in pair[1]]
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


def test_found_rows_of_a_session_that_reads_them(narrow: Proxy, direct: Connection, filled: str) -> None:
    """After its first time the session's value is taken before another session uses the connection."""
    with narrow.connect() as session, narrow.connect() as other:
        for between in ("", BETWEEN):
            for connection in (session, direct):
                run(connection, f"SELECT id FROM {filled} LIMIT 1, 2")
            if between:
                run(other, between)
            assert rows(session, "SELECT FOUND_ROWS() AS f, ROW_COUNT()") == rows(
                direct, "SELECT FOUND_ROWS() AS f, ROW_COUNT()"
            )


def test_found_rows_of_rows_from_another_connection(narrow: Proxy, direct: Connection, filled: str) -> None:
    """What the statements since have left alone is not on the connection that they ran on."""
    with narrow.connect() as session, narrow.connect() as other:
        for connection in (session, direct):
            rows(connection, f"SELECT id FROM {filled}")
        run(other, BETWEEN)
        for connection, row in ((session, 1), (direct, 3)):
            run(connection, "BEGIN")
            run(connection, f"UPDATE {filled} SET value = 9 WHERE id = {row}")
        with refused(1105, "gone"):
            rows(session, "SELECT FOUND_ROWS()")
        for connection, row in ((session, 1), (direct, 3)):
            rows(connection, f"SELECT id FROM {filled} LIMIT 2")
            run(connection, f"UPDATE {filled} SET value = 8 WHERE id = {row}")
        assert rows(session, "SELECT FOUND_ROWS()") == rows(direct, "SELECT FOUND_ROWS()")
        for connection in (session, direct):
            run(connection, "ROLLBACK")


def test_what_is_not_known_is_never_another_session_s(narrow: Proxy, filled: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for statement, question in (
            (f"SELECT id FROM {filled}", "SELECT FOUND_ROWS()"),
            ("SELECT CAST('1x' AS SIGNED)", "GET DIAGNOSTICS @n = NUMBER"),
            (f"UPDATE {filled} SET value = value + 1", "SELECT 'x', ROW_COUNT()"),
        ):
            run(session, statement)
            run(other, BETWEEN)
            with refused(1105, "gone"):
                rows(session, question)
        rows(session, "SELECT 1")


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


def test_found_rows_keeps_its_connection_for_one_statement(proxy: Proxy, filled: str) -> None:
    with proxy.connect() as session, proxy.connect() as other:
        run(session, f"SELECT SQL_CALC_FOUND_ROWS id FROM {filled} LIMIT 1")
        for _ in range(3):
            one(other, f"SELECT COUNT(*) FROM {filled}")
        assert one(session, "SELECT FOUND_ROWS()") == 5


def test_a_question_frees_the_connection(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SELECT SQL_CALC_FOUND_ROWS 1")
        rows(session, "SELECT 1")
        assert backend(other) == backend(session)


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
        run(other, "SELECT CAST('1x' AS SIGNED)")
        with refused(1105, "gone"):
            run(session, "SELECT ';' AS `;`, ROW_COUNT(); SELECT 1")


def test_the_warning_count_of_each_reply(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other, session.cursor() as cursor:
        for expected, sql in ((2, "SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)"), (0, "SELECT 1")):
            cursor.execute(sql)
            assert cursor.warning_count == expected
            one(other, "SELECT 1")
