"""A client that offered SESSION_TRACK is told by each OK what it is told on a connection of its own, byte by byte."""

from __future__ import annotations

from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest
from pymysql.constants import CLIENT

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol import commands
from rdsproxy.protocol.authentication.plugins import CACHING_SHA2
from rdsproxy.protocol.authentication.plugins import NATIVE as NATIVE_PLUGIN
from rdsproxy.protocol.responses import parse_ok
from tests.differential.client import Session
from tests.differential.commands import RESET, ChangeUser, Command, Execute, InitDb, Plain, Prepare, Query
from tests.integration.logins import Login
from tests.integration.packets import DEPRECATE_EOF, SESSION_TRACK, Packets, in_order
from tests.integration.proxy import NATIVE, Proxy, backend, connect, one, rows, run
from tests.integration.test_session_state import FLEETING
from tests.servers import DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

MULTI_STATEMENTS = 1 << 16
LIST = "time_zone, AutoCommit ,Sql_mode,character_set_results,wait_timeout"

SETTINGS = {
    "the defaults": [],
    "all variables": ["SET session_track_system_variables = '*'"],
    "a list": [f"SET session_track_system_variables = '{LIST}'"],
    "no variables": ["SET session_track_system_variables = ''"],
    "no schema": ["SET session_track_schema = 0"],
    "state changes": ["SET session_track_state_change = 1"],
    "state": ["SET session_track_transaction_info = STATE"],
    "characteristics": ["SET session_track_transaction_info = 'CHARACTERISTICS'"],
    "everything": [
        "SET session_track_system_variables = '*', session_track_state_change = ON",
        "SET session_track_transaction_info = 'CHARACTERISTICS', session_track_schema = ON",
    ],
    "nothing": [
        "SET session_track_system_variables = '', session_track_schema = OFF",
        "SET SESSION session_track_transaction_info = OFF, @@SESSION.session_track_state_change = OFF",
    ],
    "step by step": [
        "SET autocommit = 1, session_track_system_variables = 'session_track_schema,time_zone'",
        "SET session_track_schema = 0, time_zone = '+01:00'",
        "SET session_track_transaction_info = 'CHARACTERISTICS', session_track_state_change = 1",
        "SET session_track_transaction_info = 'STATE'",
        "SET session_track_system_variables = CONCAT(@@session_track_system_variables, ',sql_mode'), sql_mode = 'ANSI'",
        "SET session_track_schema = DEFAULT, session_track_state_change = @@GLOBAL.session_track_state_change",
        "SET session_track_schema = 7",
        "SET sql_mode = '', session_track_state_change = 1, session_track_transaction_info = 'OFF'",
        "SET session_track_state_change = 0; SET session_track_schema = 1, time_zone = '+02:00'",
    ],
}

# Behind each line the connection is free, and another session uses it. `|` stands between statements that hold it.
FREE = [
    "SET NAMES latin1",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET wait_timeout = 77, time_zone = '+05:00', sql_mode = 'ANSI', autocommit = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET @told = 1",
    "USE app",
    "USE mysql",
    "USE app",
    "SELECT 1",
    "BEGIN | BEGIN | SELECT 1 | COMMIT AND CHAIN | COMMIT AND CHAIN | SELECT * FROM {t}"
    " | INSERT INTO {t} (value) VALUES (1) | UPDATE {t} SET value = 2 | SET time_zone = '+01:00' | ROLLBACK",
    "COMMIT",
    "START TRANSACTION READ ONLY | COMMIT",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT | SAVEPOINT a | ROLLBACK TO a | COMMIT",
    "SET TRANSACTION READ ONLY | SELECT 1 | SELECT * FROM {t}",
    "SELECT * FROM {t}",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED | BEGIN | SELECT * FROM {t} | COMMIT",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED | ROLLBACK",
    "BEGIN | LOCK TABLES {t} READ | SELECT * FROM {t} | BEGIN | UNLOCK TABLES | COMMIT",
    "SET autocommit = 0",
    "SELECT * FROM {t} | INSERT INTO {t} (value) VALUES (5) | BEGIN | COMMIT",
    "INSERT INTO {t} (value) VALUES (6) | SET autocommit = 1",
    "BEGIN | SET autocommit = 0 | BEGIN | SET autocommit = 1",
    "BEGIN; INSERT INTO {t} (value) VALUES (7); COMMIT",
    "BEGIN | CREATE TABLE {t}_new (a INT)",
    "DROP TABLE {t}_new",
    "UPDATE {t} SET value = value + 1",
    "CREATE DATABASE {t}_gone",
    "USE {t}_gone",
    "DROP DATABASE {t}_gone",
    "USE app",
    "SELECT nothing",
    "SET time_zone = '+08:00'",
]
# These keep their connection.
HELD = [
    "SET time_zone = '+07:00'; SELECT 1; SET @told = 2; USE app; SELECT 2",
    "SELECT told_zone(1)",
    "SELECT 1",
    "SET @told = 3",
    "SET autocommit = 1",
    "CREATE TEMPORARY TABLE told_tmp (a INT)",
    "DROP TEMPORARY TABLE told_tmp",
    "PREPARE p FROM 'SELECT 1'",
    "EXECUTE p",
    "DEALLOCATE PREPARE p",
    "SELECT told_variable(1)",
    "CALL told_transaction()",
    "CALL told_opens()",
    "ROLLBACK",
    "CALL told_fails()",
    "SELECT 1",
    "SET autocommit = 1, sql_mode = ''",
    "XA START 'told'",
    "INSERT INTO {t} (value) VALUES (8)",
    "XA END 'told'",
    "XA ROLLBACK 'told'",
    "SET timestamp = 1000000000, last_insert_id = 5",
    "SET STATEMENT max_statement_time = 5 FOR SELECT 1",
    "SELECT /*+ SET_VAR(sort_buffer_size = 300000) */ 1",
    "SET NAMES utf8mb4",
]


@pytest.fixture(scope="module", autouse=True)
def routines(server: DatabaseServer) -> None:
    """What the statements above need."""
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        "DROP PROCEDURE IF EXISTS app.told_fails",
        "CREATE PROCEDURE app.told_fails() BEGIN SET time_zone = '+02:00'; SIGNAL SQLSTATE '45000'; END",
        "DROP PROCEDURE IF EXISTS app.told_transaction",
        "CREATE PROCEDURE app.told_transaction() BEGIN START TRANSACTION; COMMIT; END",
        "DROP PROCEDURE IF EXISTS app.told_opens",
        "CREATE PROCEDURE app.told_opens() START TRANSACTION",
        "DROP FUNCTION IF EXISTS app.told_untracks",
        "CREATE FUNCTION app.told_untracks() RETURNS INT BEGIN SET session_track_schema = 0; RETURN 1; END",
        "DROP FUNCTION IF EXISTS app.told_zone",
        "CREATE FUNCTION app.told_zone(x INT) RETURNS INT BEGIN SET time_zone = '+06:00'; RETURN x; END",
        "DROP FUNCTION IF EXISTS app.told_fault",
        "CREATE FUNCTION app.told_fault() RETURNS INT"
        " BEGIN SET time_zone = '+04:00'; SIGNAL SQLSTATE '45000'; RETURN 1; END",
        "DROP FUNCTION IF EXISTS app.told_variable",
        "CREATE FUNCTION app.told_variable(x INT) RETURNS INT BEGIN SET @told = x; RETURN x; END",
    )


def told(packets: Packets, sql: str, exact: bool) -> list[object]:
    """Run a statement; give its reply, packet by packet, as bytes but for blocks in which these may differ.

    The EOF behind column definitions is left out: it may show flags that are on their way.
    """
    payloads = [payload for payload in packets.query(sql) if payload[0] != 0xFE or len(payload) >= 7]
    return [payload if exact else shown(payload) for payload in payloads]


def shown(payload: bytes) -> object:
    """Give the packet's block in an order of its own."""
    if payload[0] not in (0x00, 0xFE):
        return payload
    ok = parse_ok(payload)
    return ok.with_changes(None), ok.status, in_order(ok.changes)


@pytest.mark.parametrize("flags", [SESSION_TRACK | DEPRECATE_EOF, SESSION_TRACK], ids=["OK", "EOF"])
@pytest.mark.parametrize("name", SETTINGS)
def test_blocks(narrow: Proxy, server: DatabaseServer, table: str, name: str, flags: int) -> None:
    groups = [[sql] for sql in SETTINGS[name]] + [line.format(t=table).split(" | ") for line in FREE]
    held = [sql.format(t=table) for sql in HELD]
    exact = server.kind == "mysql" and "'*'" not in str(SETTINGS[name])
    flags |= MULTI_STATEMENTS
    with Packets(server.host, server.port, flags=flags) as direct:
        expected = [[told(direct, sql, exact) for sql in group] for group in [*groups, held]]
    server.execute(f"TRUNCATE TABLE app.{table}")
    with (
        narrow.connect(charset="cp1251", database="mysql") as other,
        Packets(narrow.host, narrow.port, flags=flags) as proxied,
    ):
        run(other, "SET time_zone = '+09:00', sql_mode = 'ANSI_QUOTES', session_track_state_change = 1")
        for group, replies in zip([*groups, held], expected, strict=True):
            for sql, reply in zip(group, replies, strict=True):
                assert (sql, told(proxied, sql, exact)) == (sql, reply)
            if group is not held:
                assert one(other, "SELECT @@time_zone") == "+09:00"


HOLDS = "holds its connection"
COMMANDS: list[Command] = [
    Query("", "SET session_track_state_change = 1, session_track_schema = 0"),
    InitDb("", "mysql"),
    RESET,
    Query("", "SET time_zone = '+01:00'"),
    InitDb("", "app"),
    Query("", "SET session_track_transaction_info = 'STATE'"),
    Query(HOLDS, "BEGIN"),
    ChangeUser("", "mysql", 45),
    Query("", "SET time_zone = '+01:00'"),
    Query(HOLDS, "BEGIN"),
    Query("", "COMMIT"),
    ChangeUser("", "", 45),
    InitDb("", "app"),
    Prepare("", 1, "SET session_track_state_change = ?, time_zone = '+02:00'"),
    Execute("", 1, (1,), cursor=False, bind=True),
    Prepare("", 2, "SELECT @@session_track_state_change, ?, @@session.session_track_schema"),
    Execute("", 2, ("a",), cursor=False, bind=True),
    Execute("", 1, (0,), cursor=False, bind=True),
    Execute("", 2, ("b",), cursor=False, bind=False),
    Query("", "SET @told = 1"),
    Query(HOLDS, "SELECT told_fault()"),
    Plain(HOLDS, "COM_PING", commands.PING),
    Query(HOLDS, "SELECT 1"),
    Query(HOLDS, "SET autocommit = 1"),
]


@pytest.mark.parametrize("number", [0, 1, 2], ids=["OK", "EOF", "without trackers"])
def test_other_commands(narrow: Proxy, server: DatabaseServer, number: int) -> None:
    with (
        closing(Session(server.host, server.port, NATIVE, number, "app")) as direct,
        closing(Session(narrow.host, narrow.port, NATIVE, number, "app")) as proxied,
        narrow.connect() as other,
    ):
        for command in COMMANDS:
            assert (str(command), proxied.run(command)) == (str(command), direct.run(command))
            if command.kind != HOLDS:
                one(other, "SELECT 1")


@pytest.mark.parametrize("schema", ["app", ""])
def test_the_login(proxy: Proxy, server: DatabaseServer, schema: str) -> None:
    oks = []
    for host, port in ((server.host, server.port), (proxy.host, proxy.port)):
        with Login(host, port) as login:
            login.capabilities |= SESSION_TRACK | (cap.CLIENT_CONNECT_WITH_DB if schema else 0)
            plugin = login.greeting.auth_plugin
            answer = login.respond(NATIVE.name, login.scramble(plugin, NATIVE.password), plugin, schema)
            if answer[0] == 0xFE:
                plugin = NATIVE_PLUGIN if plugin == CACHING_SHA2 else CACHING_SHA2
                login.switch(answer, plugin)
                login.send(login.scramble(plugin, NATIVE.password))
                answer = login.receive()
            if answer == b"\x01\x03":
                answer = login.receive()
            oks.append(answer)
    assert oks[0] == oks[1]
    assert bool(parse_ok(oks[0]).changes) == bool(schema)


def test_the_defaults_are_the_server_s_and_the_init_query_s(server: DatabaseServer, folder: Path) -> None:
    init_query = "SET session_track_schema = 0"
    statements = ["USE mysql", "SET wait_timeout = 100", "SET @told = 1", "SELECT 1", "BEGIN", "COMMIT", "USE mysql"]
    with ExitStack() as stack:
        server.execute("SET GLOBAL session_track_system_variables = '*', GLOBAL session_track_state_change = 1")
        stack.callback(
            server.execute, "SET GLOBAL session_track_system_variables = DEFAULT, GLOBAL session_track_state_change = 0"
        )
        proxy = stack.enter_context(Proxy(server, folder, max_connections=1, proxy={"init_query": init_query}))
        flags = SESSION_TRACK | DEPRECATE_EOF
        direct = stack.enter_context(Packets(server.host, server.port, flags=flags))
        proxied = stack.enter_context(Packets(proxy.host, proxy.port, flags=flags))
        other = stack.enter_context(proxy.connect())
        direct.query(init_query)
        for _ in range(2):
            for sql in statements:
                assert (sql, told(proxied, sql, exact=False)) == (sql, told(direct, sql, exact=False))
                if sql != "BEGIN":
                    assert rows(other, "SELECT DATABASE(), @@wait_timeout = 100") == [("app", 0)]
            for packets in (direct, proxied):
                packets.command(commands.RESET_CONNECTION)
            direct.query(init_query)


# -- a client's own settings, whether it is told anything or not -----------------------------------------------------

NAMED = [
    "SELECT @@session_track_schema, @@session.session_track_state_change, @@session_track_transaction_info",
    "SELECT @@session_track_system_variables AS names, @@GLOBAL.session_track_schema",
    "SHOW VARIABLES LIKE 'session_track%'",
    "SHOW SESSION VARIABLES WHERE Variable_name = 'session\\_track_schema' OR Variable_name = 'session_track_schema'",
    "SET session_track_system_variables = CONCAT(@@session_track_system_variables, ',sql_mode')",
    "SET session_track_schema = 0",
    "SELECT @@session_track_system_variables, @@session_track_schema",
    "SET @own = @@session_track_schema, @@session_track_state_change = 1",
    "SELECT @own, @@session_track_state_change",
    "SET session_track_transaction_info = STATE",
    "SHOW VARIABLES LIKE 'session_track%'",
    "SET session_track_transaction_info = DEFAULT",
    "SELECT @@session_track_transaction_info",
]


@pytest.mark.parametrize("begin", [False, True], ids=["without a transaction", "in one"])
def test_a_client_reads_its_own_settings(narrow: Proxy, direct: Connection, begin: bool) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        if begin:
            session.begin()
        for sql in NAMED:
            assert rows(session, sql) == rows(direct, sql), sql
            if not begin:
                assert rows(other, "SELECT @@session_track_schema, @@session_track_state_change") == [(1, 0)]


def run_all(connection: Connection, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        while cursor.nextset():
            pass


def test_what_is_set_beside_them_stays_known(narrow: Proxy, server: DatabaseServer) -> None:
    statements = [
        "SET session_track_system_variables = '', time_zone = '+01:00', NAMES latin1 COLLATE latin1_bin, @a = 5",
        "SET SESSION max_join_size = 1000, session_track_system_variables = 'sql_mode', wait_timeout = 900",
        "SET session_track_system_variables = '*', session_track_schema = 0; SET sql_mode = 'ANSI', autocommit = 0",
        "SET session_track_system_variables = 'Sql_Mode,TIME_ZONE', sql_mode = 'ANSI_QUOTES', time_zone = '+02:00'",
        "SET sql_mode = '', time_zone = '+03:00'",
        "SET @@session_track_schema = 0, @@net_write_timeout = 77",
    ]
    flag = CLIENT.MULTI_STATEMENTS
    with (
        connect(server.host, server.port, NATIVE, client_flag=flag) as direct,
        narrow.connect(client_flag=flag) as session,
        narrow.connect() as other,
    ):
        for sql in statements:
            run_all(direct, sql)
            run_all(session, sql)
            run(other, "SET time_zone = '+09:00', NAMES cp1251")
        wanted = rows(direct, "SHOW SESSION VARIABLES")
        differing = set(rows(session, "SHOW SESSION VARIABLES")) ^ set(wanted)
        assert {name for name, _ in differing} <= FLEETING | {name for name, _ in differing if "session_track" in name}
        assert one(session, "SELECT @a") == 5


def test_nothing_goes_unseen(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        run(session, "SET session_track_system_variables = '', session_track_schema = 0")
        run(session, "SET time_zone = '+03:00'")
        run(session, "USE mysql")
        for _ in range(2):
            assert rows(other, "SELECT @@time_zone = '+03:00', DATABASE()") == [(0, "app")]
            assert rows(session, "SELECT @@time_zone, DATABASE()") == [("+03:00", "mysql")]
        run(session, "CREATE TEMPORARY TABLE told_seen (a INT)")
        assert backend(session) == backend(session)
        run(session, "DROP TEMPORARY TABLE told_seen")
        assert one(other, "SELECT 1") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT told_untracks()",
        "SET session_track_schema = 0; SELECT 1",
        "SET timestamp = 5, session_track_schema = 0",
        "SET session_track_schema = 0, sql_mode = 'nonsense'",
        "SET session_track_system_variables = 'sql_mode', GLOBAL autocommit = 1, autocommit = 1",
    ],
)
def test_what_cannot_be_proved_keeps_the_connection(narrow: Proxy, sql: str) -> None:
    with narrow.connect(client_flag=CLIENT.MULTI_STATEMENTS) as session:
        with suppress(pymysql.MySQLError):
            run_all(session, sql)
        number = session.thread_id()
        line = narrow.wait_for_log(lambda line: line.get("client") == number and "was pinned to" in line["event"])
        assert "the session trackers were set" in line["event"]
        run(session, "SET time_zone = '+03:00'")
        number = backend(session)
    with narrow.connect() as later:
        assert backend(later) == number
        assert rows(later, "SELECT @@session_track_schema, @@time_zone = '+03:00'") == [(1, 0)]
