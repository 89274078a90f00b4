"""SQL's EXECUTE of a known text does to a session what the text does, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.proxy import Proxy, backend, look, one, refused, rows, run

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer

# Each leaves the session free again. ``{t}`` is an empty table.
FREE = [
    ["PREPARE s FROM 'SELECT 1'", "EXECUTE s", "EXECUTE s", "DEALLOCATE PREPARE s"],
    ["PREPARE S FROM 'INSERT INTO {t} (value) VALUES (?)'", "SET @v = 7", "EXECUTE s USING @v",
     "DROP PREPARE S"],
    ["PREPARE s FROM 'SET time_zone = ''+01:00'''", "EXECUTE s", "DEALLOCATE PREPARE s"],
    ["PREPARE s FROM 'CREATE TEMPORARY TABLE tmp (a INT)'", "EXECUTE s", "DEALLOCATE PREPARE s", "DROP TABLE tmp"],
    ["PREPARE s FROM 'SELECT GET_LOCK(\\'executed\\', 0)'", "EXECUTE s", "DEALLOCATE PREPARE s",
     "DO RELEASE_LOCK('executed')"],
    ["PREPARE s FROM 'SET @x = 1'", "EXECUTE s", "PREPARE s FROM 'SELECT @y := @x'", "EXECUTE s",
     "DEALLOCATE PREPARE s"],
    ["BEGIN", "PREPARE s FROM 'UPDATE {t} SET value = 1'", "EXECUTE s", "DEALLOCATE PREPARE s", "COMMIT"],
]  # fmt: skip
OF_MARIADB = [
    ["EXECUTE IMMEDIATE 'SELECT ? + 1' USING 4"],
    ["EXECUTE IMMEDIATE 'SET @x = ?' USING @y"],
    ["EXECUTE IMMEDIATE \"SET sql_mode = ''\""],
    ["EXECUTE IMMEDIATE 'CREATE TEMPORARY TABLE tmp (a INT)'", "DROP TABLE tmp"],
    ["EXECUTE IMMEDIATE 'START TRANSACTION'", "EXECUTE IMMEDIATE 'COMMIT'"],
]


@pytest.mark.parametrize("statements", FREE + OF_MARIADB, ids=lambda statements: statements[0])
def test_the_session_is_free_again(
    narrow: Proxy, server: DatabaseServer, table: str, statements: list[str]
) -> None:
    if statements in OF_MARIADB and server.kind != "mariadb":
        pytest.skip("only mariadb has it")
    with narrow.connect() as session, narrow.connect() as other:
        for _ in range(2):
            for statement in statements:
                run(session, statement.format(t=table))
            assert one(other, "SELECT 1") == 1


# Each holds the session for what was executed: what is looked at, and must be seen.
HELD: list[tuple[list[str], str, object]] = [
    (["PREPARE s FROM 'SELECT GET_LOCK(?, 0)'", "SET @l = 'executed'", "EXECUTE s USING @l", "DEALLOCATE PREPARE s"],
     "SELECT IS_USED_LOCK('executed') = CONNECTION_ID()", [(1,)]),
    (["PREPARE s FROM 'CREATE TEMPORARY TABLE tmp SELECT 1 AS a'", "EXECUTE s", "DEALLOCATE PREPARE s"],
     "SELECT * FROM tmp", [(1,)]),
    (["PREPARE s FROM 'DO 1'", "PREPARE `S` FROM 'SELECT GET_LOCK(\"executed\", 0)'", "EXECUTE s",
      "DEALLOCATE PREPARE s"], "SELECT IS_USED_LOCK('executed') = CONNECTION_ID()", [(1,)]),
    (["PREPARE s FROM 'DO 1'", "SET @s = 'SELECT GET_LOCK(\"executed\", 0)'", "PREPARE s FROM @s", "EXECUTE s",
      "DEALLOCATE PREPARE s"], "SELECT IS_USED_LOCK('executed') = CONNECTION_ID()", [(1,)]),
    (["PREPARE s FROM 'DO 1'", "PREPARE /* */ s FROM 'DO GET_LOCK(\"executed\", 0)'", "EXECUTE s",
      "DEALLOCATE PREPARE s"], "SELECT IS_USED_LOCK('executed') = CONNECTION_ID()", [(1,)]),
    (["PREPARE s FROM 'CREATE TEMPORARY TABLE tmp (a INT)'", "USE mysql", "EXECUTE s", "DEALLOCATE PREPARE s",
      "DROP TEMPORARY TABLE IF EXISTS tmp", "USE app"], "SELECT * FROM tmp", []),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "sql", "seen"), HELD, ids=[sql[0][0] for sql in HELD])
def test_the_session_keeps_its_connection(
    proxy: Proxy, direct: Connection, table: str, statements: list[str], sql: str, seen: object
) -> None:
    for statement in statements:
        run(direct, statement)
    assert look(direct, sql) == seen
    run(direct, "DO RELEASE_ALL_LOCKS()")
    with proxy.connect() as session, proxy.connect() as other:
        for statement in statements:
            run(session, statement)
        number = backend(session)
        for _ in range(2):
            assert backend(other) != number
            assert look(session, sql) == seen


def test_what_was_executed_goes_with_the_session(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET @n = 4")
        run(session, "PREPARE s FROM 'SET @x = @n + ?, time_zone = ''+02:00'''")
        run(session, "EXECUTE s USING @n")
        run(session, f"PREPARE s FROM 'INSERT INTO {table} (value) VALUES (@x)'")
        run(session, "EXECUTE s")
        run(session, "DEALLOCATE PREPARE s")
        for _ in range(2):
            assert rows(other, "SELECT @x, @n, @@time_zone = '+02:00', LAST_INSERT_ID()") == [(None, None, 0, 0)]
            assert rows(session, "SELECT @x, @n, @@time_zone, LAST_INSERT_ID()") == [(8, 4, "+02:00", 1)]


def test_an_executed_commit_with_release(narrow: Proxy, table: str) -> None:
    with narrow.connect() as other:
        session = narrow.connect()
        run(session, "BEGIN")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, "PREPARE s FROM 'COMMIT RELEASE'")
        run(session, "EXECUTE s")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
        with refused(2013):
            one(session, "SELECT 1")
        session._force_close()  # type: ignore[attr-defined]
