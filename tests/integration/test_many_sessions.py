"""Sessions at random: each does what it would do on a connection of its own, whatever the others do in between."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import CLIENT, SERVER_STATUS

from tests.integration.proxy import NATIVE, SHA2, Proxy, connect, in_transaction, vanish

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer

SESSIONS = 6
STEPS = 500

# What a session may do next, and how often. {n} is a small number.
STATEMENTS = [
    (6, "SELECT {n}"),
    (6, "INSERT INTO t (value) VALUES ({n})"),
    (3, "INSERT INTO t (value) VALUES ({n}), ({n} + 1)"),
    (2, "INSERT INTO t (id, value) VALUES ({n}, 0)"),
    (2, "INSERT INTO t (id, value) VALUES ({n} + 1000, 0) ON DUPLICATE KEY UPDATE value = value + 1"),
    (2, "INSERT INTO t (value) VALUES (LAST_INSERT_ID())"),
    (2, "UPDATE t SET value = value + 1 WHERE id = {n}"),
    (1, "UPDATE t SET value = LAST_INSERT_ID(id + 7) WHERE id = {n}"),
    (2, "DELETE FROM t WHERE id = {n}"),
    (6, "SELECT LAST_INSERT_ID(), @@autocommit, DATABASE(), @x, @@sql_mode, @@time_zone, @@sql_select_limit"),
    (4, "SELECT @@character_set_client, @@character_set_results, @@character_set_connection, @@collation_connection"),
    (3, "SELECT COUNT(*), SUM(value), MAX(id) FROM t"),
    (4, "BEGIN"),
    (4, "COMMIT"),
    (2, "ROLLBACK"),
    (1, "SAVEPOINT s{n}"),
    (1, "ROLLBACK TO s{n}"),
    (2, "SET autocommit = 0"),
    (2, "SET autocommit = 1"),
    (2, "SET NAMES latin1"),
    (2, "SET NAMES utf8mb4 COLLATE utf8mb4_bin"),
    (2, "SET NAMES utf8mb4"),
    (2, "SET time_zone = '+0{n}:00'"),
    (1, "SET sql_mode = 'ANSI_QUOTES'"),
    (1, "SET sql_mode = DEFAULT, time_zone = DEFAULT"),
    (1, "SET sql_select_limit = {n} + 1"),
    (1, "SET sql_select_limit = DEFAULT"),
    (1, "SET @x = {n}"),
    (2, "SELECT @x"),
    (2, "USE {other}"),
    (2, "USE {own}"),
    (1, "SELECT * FROM no_such_table"),
    (1, "SELECTX {n}"),
    (1, "SET no_such_variable = {n}"),
    (1, "CREATE TEMPORARY TABLE tmp{n} (a INT)"),
    (1, "SELECT COUNT(*) FROM tmp{n}"),
    (1, "DROP TEMPORARY TABLE tmp{n}"),
    (1, "SELECT 1; INSERT INTO t (value) VALUES ({n}); SELECT {n}"),
    (1, "SET TRANSACTION READ ONLY"),
    (1, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"),
    (1, "LOCK TABLES t WRITE"),
    (1, "UNLOCK TABLES"),
    (1, "TRUNCATE TABLE t"),
    (1, "SELECT \"quoted{n}\""),
    (1, "SELECT GET_LOCK('{lock}', 0)"),
    (1, "SELECT IS_FREE_LOCK('{lock}')"),
    (1, "SELECT RELEASE_LOCK('{lock}')"),
    (1, "PREPARE p FROM 'SELECT {n}'"),
    (1, "EXECUTE p"),
    (1, "DEALLOCATE PREPARE p"),
    (1, "HANDLER t OPEN"),
    (1, "HANDLER t READ FIRST"),
    (1, "HANDLER t CLOSE"),
    (1, "SELECT {n} INTO @x"),
    (1, "CALL many_procedure({n})"),
    (1, "SELECT many_function({n})"),
    (1, "SELECT many_failing_function({n})"),
    (1, "SELECT many_function({n}), many_failing_function({n})"),
    (1, "SET time_zone = '+05:00'; SELECT bogus"),
    (1, "SET @@max_sort_length = 100 + {n}"),
    (1, "SELECT @@max_sort_length"),
    (1, "RESET"),
    (2, "LEAVE"),
]  # fmt: skip


class Pair:
    """A session through the proxy, and its twin on a connection of its own; each has its own copy of the tables."""

    def __init__(self, proxy: Proxy, server: DatabaseServer, number: int) -> None:
        self.proxy, self.server, self.number = proxy, server, number
        for side in ("proxy", "twin"):
            for kind in ("own", "other"):
                schema = f"many_{side}_{number}_{kind}"
                server.execute(
                    f"DROP DATABASE IF EXISTS {schema}",
                    f"CREATE DATABASE {schema}",
                    f"CREATE TABLE {schema}.t (id INT PRIMARY KEY AUTO_INCREMENT, value BIGINT)",
                    f"CREATE PROCEDURE {schema}.many_procedure(n INT) INSERT INTO t (value) VALUES (n)",
                    f"CREATE FUNCTION {schema}.many_function(n INT) RETURNS INT BEGIN SET @x = n; RETURN n; END",
                    f"CREATE FUNCTION {schema}.many_failing_function(n INT) RETURNS INT"
                    " BEGIN SET @x = n; SET max_sort_length = 200 + n; SIGNAL SQLSTATE '45000'; RETURN n; END",
                )
        self.account = (NATIVE, SHA2)[number % 2]
        self.open()

    def open(self) -> None:
        settings: dict[str, Any] = {
            "client_flag": CLIENT.MULTI_STATEMENTS if self.number % 3 else 0,
            "charset": ("utf8mb4", "latin1")[self.number % 2],
        }
        self.session = self.proxy.connect(self.account, database=f"many_proxy_{self.number}_own", **settings)
        self.twin = connect(
            self.server.host,
            self.server.port,
            self.account,
            self.server.certificates,
            database=f"many_twin_{self.number}_own",
            **settings,
        )

    def close(self) -> None:
        self.session.close()
        self.twin.close()

    def run(self, statement: str, rng: random.Random) -> str:
        """Run a statement on both sides; give what differs."""
        if statement == "LEAVE":
            for side in (self.session, self.twin):
                with suppress(pymysql.MySQLError):
                    (vanish if rng.random() < 0.5 else pymysql.connections.Connection.close)(side)
            self.open()
            return ""
        outcomes = []
        for side, name in ((self.session, "proxy"), (self.twin, "twin")):
            sql = statement
            for kind in ("own", "other", "lock"):
                sql = sql.replace(f"{{{kind}}}", f"many_{name}_{self.number}_{kind}")
            outcomes.append(str(outcome(side, sql)).replace(f"many_{name}_", "many_"))
        return "" if outcomes[0] == outcomes[1] else f"{outcomes[0]} where the server gives {outcomes[1]}"


def outcome(connection: Connection, sql: str) -> object:
    """Give all that a client learns from a statement."""
    results = []
    if sql == "RESET":
        internals: Any = connection
        internals._execute_command(0x1F, b"")
        return internals._read_ok_packet().server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            while True:
                results.append((cursor.fetchall(), cursor.rowcount, cursor.lastrowid, cursor.warning_count))
                if not cursor.nextset():
                    break
    except pymysql.MySQLError as error:
        return results, error.args, in_transaction(connection)
    return results, in_transaction(connection)


@pytest.fixture(scope="module")
def shared(server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    # As many connections as sessions: nobody has to wait for those that hold theirs.
    with Proxy(server, tmp_path_factory.mktemp("many"), max_connections=SESSIONS) as proxy:
        yield proxy


@pytest.mark.parametrize("seed", range(3))
def test_at_random(shared: Proxy, server: DatabaseServer, seed: int) -> None:
    server.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    rng = random.Random(seed)
    weights = [weight for weight, _ in STATEMENTS]
    history: list[str] = []
    with ExitStack() as stack:
        pairs = [Pair(shared, server, number) for number in range(SESSIONS)]
        for pair in pairs:
            stack.callback(pair.close)
        for step in range(STEPS):
            pair = rng.choice(pairs)
            ((_, statement),) = rng.choices(STATEMENTS, weights)
            statement = statement.replace("{n}", str(rng.randint(1, 5)))
            history.append(f"{step}: session {pair.number}: {statement}")
            difference = pair.run(statement, rng)
            own = [line for line in history if f"session {pair.number}:" in line][-25:]
            assert not difference, "\n".join([*own, difference])
    shared.check_log()
