"""With EXCLUDE_VARIABLE_SETS no SET of a variable pins, as in RDS Proxy; but nobody finds what others have set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.proxy import Proxy, backend, in_transaction, look, one, refused, rows, run

if TYPE_CHECKING:
    from tests.servers import DatabaseServer

# A statement, what shows its effect, and what a session sees that has not run it.
SETS = [
    ("SET @@net_write_timeout = 99", "SELECT @@net_write_timeout = 99", [(0,)]),
    ("SET timestamp = 1000000000", "SELECT UNIX_TIMESTAMP() = 1000000000", [(0,)]),
    ("SET insert_id = 700", "SELECT @@insert_id", [(0,)]),
    ("SET rand_seed1 = 1, rand_seed2 = 2", "SELECT RAND() = (SELECT RAND())", [(0,)]),
    ("SET character_set_database = latin1", "SELECT @@character_set_database", [("utf8mb4",)]),
    ("SET @é = 5", "SELECT @é", [(None,)]),
    ("SET @large = REPEAT('x', 20000)", "SELECT LENGTH(@large)", [(None,)]),
    ("SET @wide = _utf16 X'0041'", "SELECT HEX(@wide)", [(None,)]),
    ("SET profiling = 1", "SELECT @@profiling", [(0,)]),
]


@pytest.fixture(scope="module")
def filtered(server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with one connection and the filter."""
    folder: Path = tmp_path_factory.mktemp("filtered")
    filters = {"session_pinning_filters": ["EXCLUDE_VARIABLE_SETS"]}
    with Proxy(server, folder, max_connections=1, target_group=filters) as proxy:
        yield proxy


@pytest.mark.parametrize(("statement", "sql", "unset"), SETS, ids=[statement for statement, *_ in SETS])
def test_a_set_does_not_pin(
    filtered: Proxy, server: DatabaseServer, statement: str, sql: str, unset: object
) -> None:
    if server.kind == "mysql" and "net_write_timeout" in statement:
        pytest.skip("mysql reports it, so that it is written back")
    start = len(filtered.log)
    with filtered.connect() as session, filtered.connect() as other:
        for _ in range(2):
            run(session, statement)
            assert look(other, sql) == unset
            assert look(session, sql) == unset, "it is gone with the connection"
    assert not [line for line in filtered.log[start:] if "pinned" in line["event"]]


@pytest.mark.parametrize(("statement", "sql", "unset"), SETS[:2], ids=["untracked", "volatile"])
def test_it_holds_for_a_transaction(filtered: Proxy, table: str, statement: str, sql: str, unset: object) -> None:
    with filtered.connect() as session, filtered.connect() as other:
        run(session, "BEGIN")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, statement)
        assert look(session, sql) == [(1,)]
        run(session, "COMMIT")
        assert not in_transaction(session)
        assert look(other, sql) == unset
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1


def test_what_can_be_written_back_is(filtered: Proxy, table: str) -> None:
    with filtered.connect() as session, filtered.connect() as other:
        run(session, "SET time_zone = '+01:00', @x = 4")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, "SET @@net_write_timeout = 99")
        run(session, "SET @y = REPEAT('x', 20000), @z = 5")
        assert rows(other, "SELECT @x, @z, LAST_INSERT_ID()") == [(None, None, 0)]
        assert rows(session, "SELECT @@time_zone, @x, @y, @z, LAST_INSERT_ID()") == [("+01:00", 4, None, 5, 1)]


def test_warnings_of_such_a_statement(filtered: Proxy) -> None:
    with filtered.connect() as session, filtered.connect() as other:
        run(session, "SET @é = CAST('1x' AS SIGNED)")
        run(other, "DO 1")
        assert len(rows(session, "SHOW WARNINGS")) == 1


def test_other_pins_are_as_they_were(filtered: Proxy) -> None:
    start = len(filtered.log)
    with filtered.connect() as session:
        run(session, "CREATE TEMPORARY TABLE filtered (b INT)")  # is no variable
        filtered.wait_for_log(lambda line: "was pinned to" in line["event"], after=start)
        number = backend(session)
        run(session, "SET timestamp = 1000000000")
        assert one(session, "SELECT UNIX_TIMESTAMP()") == 1000000000, "as long as it is pinned"
        assert backend(session) == number
        run(session, "DROP TABLE filtered")
    with filtered.connect() as later:
        assert one(later, "SELECT UNIX_TIMESTAMP() = 1000000000") == 0
        with refused(1146):
            rows(later, "SELECT * FROM filtered")
