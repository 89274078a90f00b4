"""What cannot be written back keeps a session on its connection, is told in the log, and is gone with the session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.integration.proxy import Proxy, backend, look, one, refused, rows, run, vanish

if TYPE_CHECKING:
    from tests.servers import DatabaseServer


@dataclass(frozen=True)
class Cause:
    """Statements that pin, what they leave to be seen in the session, and what a later session must see instead.

    ``{t}`` is an empty table. An expected number instead of rows is an error.
    """

    name: str
    statements: list[str]
    reason: str
    look: str
    seen: object
    seen_later: object
    servers: list[str] = field(default_factory=lambda: ["mariadb", "mysql"])


CAUSES = [
    Cause("odd-variable", ["SET @é = 5"], "user variable", "SELECT @é", [(5,)], [(None,)]),
    Cause("large-variable", ["SET @x = REPEAT('x', 20000)"], "cannot be written back", "SELECT LENGTH(@x)",
          [(20000,)], [(None,)]),
    Cause("temporary-table", ["CREATE TEMPORARY TABLE tmp (a INT)"], "temporary table", "SELECT * FROM tmp", [], 1146),
    Cause("prepared-text", ["PREPARE s FROM 'SELECT 8'"], "", "EXECUTE s", [(8,)], 1243),
    Cause("get-lock", ["SELECT GET_LOCK('pin', 0)"], "a lock is held", "SELECT IS_FREE_LOCK('pin')", [(0,)], [(1,)]),
    Cause("handler", ["HANDLER {t} OPEN"], "HANDLER", "HANDLER {t} READ FIRST", [], 1109),
    Cause("lock-tables", ["LOCK TABLES {t} WRITE"], "tables are locked", "SELECT * FROM {t}", [], []),
    Cause("read-lock", ["FLUSH TABLES WITH READ LOCK"], "locked by FLUSH", "SELECT * FROM {t}", [], []),
    Cause("timestamp", ["SET timestamp = 1000000000"], "goes on to change", "SELECT UNIX_TIMESTAMP() = 1000000000",
          [(1,)], [(0,)]),
    Cause("procedure", ["CALL pin_procedure()"], "procedure", "SELECT @in_procedure", [(9,)], [(None,)]),
    Cause("function", ["SELECT pin_function()"], "reports a change", "SELECT @in_function", [(4,)], [(None,)]),
    Cause("xa", ["XA START 'pin'"], "an XA transaction is open", "SELECT * FROM {t}", [], []),
    Cause("odd-xa", ["XA START 'p\\\\in'"], "end cannot be told", "SELECT * FROM {t}", [], []),
    Cause("no-trackers", ["SELECT pin_untracks()"], "session trackers were", "SELECT @@session_track_schema",
          [(0,)], [(1,)]),
    Cause("no-scope", ["SET @@net_write_timeout = 99"], "not reported", "SELECT @@net_write_timeout = 99", [(1,)],
          [(0,)]),
    Cause("far-function", ["SELECT pin_schema.far_function()"], "reports a change", "SELECT @in_far", [(3,)],
          [(None,)]),
    Cause("set-in-function", ["SELECT pin_setting_function()"], "reports a change", "SELECT @in_setting", [(2,)],
          [(None,)]),
    Cause("set-by-function", ["SET net_write_timeout = pin_setting_function()"], "reports a change",
          "SELECT @in_setting", [(2,)], [(None,)]),
    Cause("set-statement", ["SET STATEMENT net_write_timeout = 50 FOR SELECT pin_function()"],
          "reports a change", "SELECT @in_function, @@net_write_timeout = 50", [(4, 0)], [(None, 0)], ["mariadb"]),
    Cause("set-in-insert", ["INSERT INTO {t} (value) VALUES (pin_setting_function())"],
          "reports a change", "SELECT @in_setting", [(2,)], [(None,)]),
    Cause("sequence", ["SELECT NEXTVAL(pin_sequence) > 0"], "sequence", "SELECT LASTVAL(pin_sequence) > 0", [(1,)],
          [(None,)], ["mariadb"]),
    Cause("compound", ["BEGIN NOT ATOMIC SET @x = 6; END"], "procedure", "SELECT @x", [(6,)], [(None,)], ["mariadb"]),
    Cause("block", ["SET sql_mode = 'ORACLE'", "BEGIN SET @x = 6; END"], "procedure", "SELECT @x", [(6,)], [(None,)],
          ["mariadb"]),
    Cause("instance-lock", ["LOCK INSTANCE FOR BACKUP"], "takes a lock", "SELECT * FROM {t}", [], [], ["mysql"]),
    Cause("backup-lock", ["BACKUP LOCK {t}"], "takes a lock", "SELECT * FROM {t}", [], [], ["mariadb"]),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def routines(server: DatabaseServer) -> None:
    """What the statements above need."""
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        "DROP PROCEDURE IF EXISTS app.pin_procedure",
        "CREATE PROCEDURE app.pin_procedure() SET @in_procedure = 9",
        "DROP FUNCTION IF EXISTS app.pin_function",
        "CREATE FUNCTION app.pin_function() RETURNS INT BEGIN SET @in_function = 4; RETURN 1; END",
        "DROP DATABASE IF EXISTS pin_schema",
        "CREATE DATABASE pin_schema",
        "CREATE FUNCTION pin_schema.far_function() RETURNS INT BEGIN SET @in_far = 3; RETURN 1; END",
        "DROP FUNCTION IF EXISTS app.pin_setting_function",
        "CREATE FUNCTION app.pin_setting_function() RETURNS INT"
        " BEGIN SET @in_setting = 2; SET time_zone = '+01:00'; RETURN 1; END",
        "DROP FUNCTION IF EXISTS app.pin_untracks",
        "CREATE FUNCTION app.pin_untracks() RETURNS INT BEGIN SET session_track_schema = 0; RETURN 1; END",
    )
    if server.kind == "mariadb":
        server.execute("CREATE SEQUENCE IF NOT EXISTS app.pin_sequence")


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_a_pin(narrow: Proxy, server: DatabaseServer, table: str, cause: Cause) -> None:
    if server.kind not in cause.servers:
        pytest.skip(f"only {cause.servers[0]} has it")
    start = len(narrow.log)
    leaver = narrow.connect()
    for statement in cause.statements:
        run(leaver, statement.format(t=table))
    number = backend(leaver)
    pinned = narrow.wait_for_log(lambda line: "was pinned to" in line["event"], after=start)
    assert cause.reason in pinned["event"]
    assert f"[dbConnection={number}]" in pinned["event"]
    assert pinned["client"] == leaver.thread_id()
    assert pinned["backend"] == number
    sql = cause.look.format(t=table)
    for _ in range(2):
        assert look(leaver, sql) == cause.seen
        assert backend(leaver) == number
    vanish(leaver)
    with narrow.connect() as later:
        assert look(later, sql) == cause.seen_later
        # Nothing is locked any more, for anybody.
        run(later, f"INSERT INTO {table} (value) VALUES (1)")
        server.execute(f"TRUNCATE app.{table}")


def test_others_work_on_while_a_session_is_pinned(proxy: Proxy) -> None:
    with proxy.connect() as pinned, proxy.connect() as other:
        run(pinned, "SET @é = 1")
        number = backend(pinned)
        for turn in range(5):
            assert backend(other) != number
            assert one(other, "SELECT 1") == 1
            assert one(pinned, "SELECT @é") == turn + 1
            run(pinned, "SET @é = @é + 1")


def test_unlock_tables_ends_the_pin(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for _ in range(2):
            run(session, f"LOCK TABLES {table} READ")
            with refused(1099):
                run(session, f"INSERT INTO {table} (value) VALUES (1)")
            run(session, "UNLOCK TABLES")
            run(other, f"INSERT INTO {table} (value) VALUES (1)")


@pytest.mark.parametrize("statement", ["TRUNCATE TABLE {t}", "ALTER TABLE {t} COMMENT 'x'", "ANALYZE TABLE {t}"])
def test_tables_stay_locked(narrow: Proxy, table: str, statement: str) -> None:
    """After some statements MySQL's trackers say that nothing is locked, while it is."""
    with narrow.connect() as session:
        run(session, f"LOCK TABLES {table} WRITE")
        run(session, statement.format(t=table))
        with refused(1100):
            rows(session, "SELECT * FROM mysql.db")
        vanish(session)
        with narrow.connect() as later:
            assert one(later, "SELECT COUNT(*) > 0 FROM mysql.db") == 1
            run(later, f"LOCK TABLES {table} WRITE")
            run(later, statement.format(t=table))
            run(later, "UNLOCK TABLES")
            with narrow.connect() as other:
                assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


def test_locked_tables_and_transactions(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"LOCK TABLES {table} WRITE")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        session.begin()  # unlocks
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        session.rollback()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1


# Nothing of these stays on the connection, whatever they look like.
HARMLESS = [
    "SELECT '@x', \"@x\", 'GET_LOCK(1)'",
    "SELECT 1 -- @x",
    "SELECT 1 /* SET @x = 1; HANDLER */",
    "SELECT 'user@example.com', '\\'@x'",
    "SELECT 1 AS `@x`",
    "SELECT @@version, @@session.sql_mode",
    "SHOW GRANTS FOR CURRENT_USER",
    "SELECT RELEASE_LOCK('no such lock')",
    "SELECT IS_FREE_LOCK('no such lock')",
    "CALL_ME: SELECT 1"[9:],
    "EXPLAIN SELECT 1",
    "DO 1",
    "SHOW VARIABLES LIKE 'version'",
    "SELECT 'user@example.com', '$2y$10$abcdefghij' /*application:shop,action='index'*/",
    "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 'user@example.com'",
    "SELECT 1 AS `show`, 'user@example.com' AS `errors`",
    "SELECT 'user@example.com' /*!50000 , 'it''s' */",
]


@pytest.mark.parametrize("sql", HARMLESS)
def test_no_pin(narrow: Proxy, sql: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, sql)
        assert one(other, "SELECT 1") == 1


def test_no_pin_by_a_column_named_role(narrow: Proxy, table: str) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"ALTER TABLE {table} ADD COLUMN role VARCHAR(20)")
        run(session, f"UPDATE {table} SET role = 'admin' WHERE role = 'user@example.com'")
        assert one(other, "SELECT 1") == 1


@pytest.mark.parametrize("character_set", ["gbk", "sjis", "big5", "cp932"])
def test_no_pin_by_strings_in_a_character_set_of_pairs(narrow: Proxy, character_set: str) -> None:
    with narrow.connect(charset=character_set) as session, narrow.connect() as other:
        # The second byte of the last character is a backslash in one of them each.
        text = {"gbk": "誠", "sjis": "表", "big5": "功", "cp932": "ソ"}[character_set]
        mail = "user@example.com; CALL p()"
        assert rows(session, f"SELECT '{mail}', '{text}', 'it''s @x'") == [(mail, text, "it's @x")]
        assert one(other, "SELECT 1") == 1
        assert one(session, f"SELECT HEX('{text}')") == text.encode(character_set).hex().upper()


def test_a_pinned_session_that_is_idle_when_its_connection_breaks(proxy: Proxy, server: DatabaseServer) -> None:
    """It is told once, as what it had is gone; then it goes on."""
    start = len(proxy.log)
    with proxy.connect() as session:
        run(session, "SET @é = 1")
        server.execute(f"KILL {backend(session)}")
        proxy.wait_for_log(lambda line: line["event"] == "database connection lost", after=start)
        with refused(2013):
            one(session, "SELECT @é")
        assert one(session, "SELECT @é") is None


def test_settings_of_a_pinned_session_survive_its_end(narrow: Proxy) -> None:
    with narrow.connect() as session:
        run(session, "SET @x = 1, @é = 1, time_zone = '+01:00', NAMES latin1")
        run(session, "USE mysql")
        vanish_into = backend(session)
    with narrow.connect() as later:
        assert backend(later) == vanish_into
        assert rows(later, "SELECT @x, @@time_zone = '+01:00', DATABASE(), @@character_set_client") == [
            (None, 0, "app", "utf8mb4")
        ]
