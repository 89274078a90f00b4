"""LAST_INSERT_ID() of a session that becomes pinned, beside what the statement before left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.proxy import Proxy, one, rows, run

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer


@pytest.fixture
def session(narrow: Proxy, table: str) -> Iterator[Connection]:
    """A session whose LAST_INSERT_ID() is 1, on a connection that has served another since."""
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        one(other, "SELECT 1")
        yield session


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("UPDATE IGNORE {t} SET value = '2x'", "SHOW WARNINGS"),
        ("UPDATE {t} SET value = 2", "SELECT ROW_COUNT()"),
        ("SELECT 1 UNION SELECT 2", "SELECT FOUND_ROWS()"),
    ],
)
def test_diagnostics_are_not_lost_for_it(
    session: Connection, direct: Connection, table: str, statement: str, question: str
) -> None:
    run(session, statement.format(t=table))
    found = rows(session, question)
    run(direct, f"UPDATE {table} SET value = 1")
    run(direct, statement.format(t=table))
    assert found == rows(direct, question)
    assert found
    assert one(session, "SELECT LAST_INSERT_ID()") == 1


def test_both_at_once(session: Connection, table: str) -> None:
    """To bring back the one ends the other, which is told from memory then."""
    run(session, f"UPDATE {table} SET value = 2")
    assert one(session, "SELECT ROW_COUNT() + LAST_INSERT_ID() * 10") == 11
    assert one(session, "SELECT LAST_INSERT_ID()") == 1


def test_an_insert_that_reads_the_row_count(session: Connection, table: str) -> None:
    run(session, f"UPDATE {table} SET value = 5")
    run(session, f"INSERT INTO {table} (value) VALUES (ROW_COUNT())")
    assert one(session, "SELECT LAST_INSERT_ID()") == 2
    assert rows(session, f"SELECT value FROM {table}") == [(5,), (1,)]


def test_an_insert_that_pins(session: Connection, server: DatabaseServer, table: str) -> None:
    """Only its reply tells that it does."""
    server.execute(
        f"CREATE FUNCTION app.{table}_f() RETURNS INT NO SQL BEGIN SET @a = 7; RETURN 7; END",
    )
    try:
        run(session, f"INSERT INTO {table} (value) VALUES ({table}_f())")
        assert one(session, "SELECT LAST_INSERT_ID()") == 2
        assert one(session, "SELECT @a") == 7
    finally:
        server.execute(f"DROP FUNCTION app.{table}_f")
