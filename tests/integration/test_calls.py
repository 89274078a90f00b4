"""A CALL holds its session only if its definition does not prove that nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.prepared import Client
from tests.integration.proxy import Account, LogLine, Proxy, backend, in_transaction, look, one, refused, rows, run

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer

PROCEDURES = {
    "call_nothing": "() BEGIN END",
    "call_rows": "(x INT) BEGIN SELECT x; SELECT x + 1; END",
    "call_out": "(IN x INT, OUT y INT) SET y = 2 * x",
    "call_insert": "(x INT) BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;"
    " INSERT INTO call_table (value) VALUES (x); END",
    "call_begin": "() START TRANSACTION",
    "call_fail": "() BEGIN INSERT INTO call_table (value) VALUES (1); SIGNAL SQLSTATE '45000'; END",
    "call_warn": "() SELECT CAST('1x' AS SIGNED)",
    "call_lock": "() DO GET_LOCK('call', 0)",
    "call_into": "() SELECT 5 INTO @into",
    "call_reads": "() SELECT @unknown",
    "call_set": "() SET time_zone = '+03:00'",
    "call_nested": "() CALL call_lock()",
    "call_temporary": "() CREATE TEMPORARY TABLE call_tmp SELECT 1 AS a",
    "call_dynamic": "() BEGIN SET @sql = 'DO GET_LOCK(''call'', 0)'; PREPARE s FROM @sql; EXECUTE s;"
    " DEALLOCATE PREPARE s; END",
}


@pytest.fixture(scope="module", autouse=True)
def procedures(server: DatabaseServer) -> Iterator[None]:
    """What is called."""
    server.execute(
        "CREATE TABLE IF NOT EXISTS app.call_table (id INT PRIMARY KEY AUTO_INCREMENT, value INT)",
        *(f"DROP PROCEDURE IF EXISTS app.{name}" for name in PROCEDURES),
        *(f"CREATE PROCEDURE app.{name}{body}" for name, body in PROCEDURES.items()),
    )
    yield
    server.execute("DROP TABLE app.call_table", *(f"DROP PROCEDURE app.{name}" for name in PROCEDURES))


def is_pinned(line: LogLine) -> bool:
    """Tell whether a line of the log is about a session that is pinned by what it has called."""
    return "was pinned" in line["event"] and "procedure" in line["event"]


FREE = [
    ["CALL call_nothing()"],
    ["call `call_nothing` ;"],
    ["CALL call_rows(4)"],
    ["CALL call_out(4, @y)"],
    ["CALL call_insert(7)"],
    ["CALL call_warn()"],
    ["BEGIN", "CALL call_insert(7)", "CALL call_nothing()", "CALL call_insert(8)", "COMMIT"],
    ["SET autocommit = 0", "CALL call_insert(7)", "COMMIT", "CALL call_nothing()", "SET autocommit = 1"],
    ["CALL call_begin()", "ROLLBACK"],
    ["PREPARE s FROM 'CALL call_out(?, @y)'", "SET @x = 5", "EXECUTE s USING @x", "DEALLOCATE PREPARE s"],
    ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "CALL call_nothing()", "BEGIN", "COMMIT"],
]


@pytest.mark.parametrize("statements", FREE, ids=lambda statements: statements[0])
def test_the_session_is_free_again(narrow: Proxy, statements: list[str]) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for _ in range(2):
            for statement in statements:
                run(session, statement)
            assert one(other, "SELECT 1") == 1


@pytest.mark.parametrize(
    ("name", "sql", "seen"),
    [
        ("call_lock", "SELECT IS_USED_LOCK('call') = CONNECTION_ID()", [(1,)]),
        ("call_into", "SELECT @into", [(5,)]),
        ("call_set", "SELECT @@time_zone", [("+03:00",)]),
        ("call_nested", "SELECT IS_USED_LOCK('call') = CONNECTION_ID()", [(1,)]),
        ("call_temporary", "SELECT * FROM call_tmp", [(1,)]),
        ("call_dynamic", "SELECT IS_USED_LOCK('call') = CONNECTION_ID()", [(1,)]),
    ],
)
@pytest.mark.parametrize("begin", [[], ["BEGIN", "SELECT 1"], ["SET autocommit = 0"]], ids=["", "in", "off"])
def test_the_session_keeps_its_connection(
    proxy: Proxy, name: str, sql: str, seen: object, begin: list[str]
) -> None:
    with proxy.connect() as session, proxy.connect() as other:
        for statement in begin:
            run(session, statement)
        run(session, f"CALL {name}()")
        run(session, "COMMIT")
        number = backend(session)
        for _ in range(2):
            assert backend(other) != number
            assert look(session, sql) == seen


def test_what_a_call_gives_goes_with_the_session(narrow: Proxy, direct: Connection) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for each in (direct, session):
            run(each, "CALL call_out(21, @y)")
            if each is session:
                run(other, "DO 1")
            assert one(each, "SELECT @y") == 42
            run(each, "SET @y = NULL")
            run(each, "CALL call_insert(3)")
            number = one(each, "SELECT LAST_INSERT_ID()")
            if each is session:
                assert one(other, "SELECT LAST_INSERT_ID()") == 0
            assert one(each, "SELECT LAST_INSERT_ID()") == number
            run(each, "CALL call_warn()")
            assert len(rows(each, "SHOW WARNINGS")) == 1
            run(each, "CALL call_warn()")
            if each is session:
                assert rows(other, "SHOW WARNINGS") == []
            assert len(rows(each, "SHOW WARNINGS")) == 1
            run(each, "CALL call_insert(3)")
            assert one(each, "SELECT ROW_COUNT()") == 1


def test_a_call_that_fails(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        before = one(other, "SELECT COUNT(*) FROM call_table")
        with refused(1644):
            run(session, "CALL call_fail()")
        assert one(other, "SELECT COUNT(*) FROM call_table") == before + 1
        with refused(1305):
            run(session, "CALL call_missing()")
        with refused(1318):
            run(session, "CALL call_rows()")
        assert one(other, "SELECT 1") == 1


def test_a_call_reads_nothing_of_others(narrow: Proxy, server: DatabaseServer) -> None:
    """A function has set a variable without a word; it is still on the connection."""
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        "DROP FUNCTION IF EXISTS app.call_function",
        "CREATE FUNCTION app.call_function() RETURNS INT BEGIN SELECT 9 INTO @unknown; RETURN 1; END",
    )
    with narrow.connect() as session, narrow.connect() as other:
        run(other, "SELECT call_function()")
        number = backend(other)
        assert rows(session, "CALL call_reads()") == [(None,)]
        assert backend(session) == number
    server.execute("DROP FUNCTION app.call_function")


def test_prepared_calls(narrow: Proxy) -> None:
    with Client(narrow.host, narrow.port) as session, narrow.connect() as other:
        number = session.prepare("CALL call_rows(?)")
        for turn in range(3):
            session.send(session.execution(number, [turn]))
            assert len(session.reply()) == 11
            assert one(other, "SELECT 1") == 1


def test_a_definition_that_changes(narrow: Proxy, server: DatabaseServer) -> None:
    """The definition before the CALL is not that behind it: what ran is not known."""
    server.execute("DROP PROCEDURE IF EXISTS app.call_changing", "CREATE PROCEDURE app.call_changing() SELECT 1")
    start = len(narrow.log)
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "BEGIN")
        run(session, "CALL call_changing()")
        # MariaDB lets it go in mid-transaction; MySQL keeps a lock on it.
        if server.kind == "mariadb":
            server.execute("CREATE OR REPLACE PROCEDURE app.call_changing() SELECT 1 + 1")
        run(session, "COMMIT")
        if server.kind == "mariadb":
            narrow.wait_for_log(is_pinned, after=start)
        else:
            assert one(other, "SELECT 1") == 1
    server.execute("DROP PROCEDURE app.call_changing")


def test_a_definition_that_the_user_may_not_see(server: DatabaseServer, folder: Path) -> None:
    account = Account("through_calls", "Calls-Password-5", "MYSQL_NATIVE_PASSWORD")
    server.create_user(account.name, account.password, grants=["SELECT, EXECUTE ON app.*"])
    with Proxy(server, folder, max_connections=1, accounts=[account]) as proxy, proxy.connect(account) as session:
        assert rows(session, "CALL call_warn()") == [(1,)]
        proxy.wait_for_log(is_pinned)
        assert len(rows(session, "SHOW WARNINGS")) == 1
        run(session, "BEGIN")
        assert in_transaction(session)
