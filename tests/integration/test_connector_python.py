"""mysql-connector-python through the proxy, in its pure form: a client of its own, not of the C library."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mysql.connector
import pytest
from mysql.connector.constants import ClientFlag

from tests.integration.proxy import ACCOUNTS, NATIVE, SHA2, Account, Proxy
from tests.servers import Certificates, DatabaseServer

LARGE = 20 << 20  # bytes; more than one packet can carry

Connection = Any  # the package's own types do not say all that its connections can do


@pytest.fixture
def session(proxy: Proxy) -> Iterator[Connection]:
    """A session through the proxy."""
    with mysql.connector.connect(**settings(proxy)) as connection:
        yield connection


def settings(
    to: Proxy | DatabaseServer, account: Account = SHA2, tls: Certificates | None = None, **more: Any
) -> dict[str, Any]:
    """Give the arguments of connect()."""
    return {
        "host": to.host,
        "port": to.port,
        "user": account.name,
        "password": account.password,
        "database": "app",
        "charset": "utf8mb4",
        "collation": "utf8mb4_general_ci",
        "use_pure": True,
        "autocommit": True,
        "allow_local_infile": True,
        "connection_timeout": 20,
        **(
            {"ssl_disabled": True}
            if tls is None
            else {"ssl_ca": str(tls.ca), "ssl_verify_cert": True, "ssl_verify_identity": True}
        ),
        **more,
    }


def rows(connection: Connection, sql: str, arguments: object = (), **kind: bool) -> list[tuple[Any, ...]]:
    """Run a statement; give its rows."""
    with connection.cursor(**kind) as cursor:
        cursor.execute(sql, arguments)
        found: list[tuple[Any, ...]] = cursor.fetchall() if cursor.with_rows else []
        return found


def one(connection: Connection, sql: str, arguments: object = (), **kind: bool) -> Any:
    """Run a query; give the one value of its one row."""
    ((value,),) = rows(connection, sql, arguments, **kind)
    return value


def described(cursor: Any) -> list[tuple[Any, ...]]:
    """Give the names and types of the columns, and what may be NULL in them."""
    return [column[:7] for column in cursor.description]


def run(connection: Connection, sql: str, arguments: object = (), **kind: bool) -> int:
    """Run a statement; give the affected rows."""
    with connection.cursor(**kind) as cursor:
        cursor.execute(sql, arguments)
        count: int = cursor.rowcount
        return count


@contextmanager
def refused(code: int, sqlstate: str) -> Iterator[None]:
    """Expect MySQL's error ``code`` with ``sqlstate``."""
    with pytest.raises(mysql.connector.Error) as caught:
        yield
    assert (caught.value.errno, caught.value.sqlstate) == (code, sqlstate), caught.value


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
class TestLogin:
    """Logging in."""

    @pytest.mark.parametrize("account", ACCOUNTS, ids=["native", "sha2"])
    def test_right_password(
        self, proxy: Proxy, certificates: Certificates, account: Account, with_tls: bool
    ) -> None:
        tls = certificates if with_tls else None
        with mysql.connector.connect(**settings(proxy, account, tls)) as connection:
            assert one(connection, "SELECT CONCAT(SUBSTRING_INDEX(USER(), '@', 1), ':', DATABASE())") == (
                f"{account.name}:app"
            )
            # The driver chooses by the version, which has to be the server's.
            assert str(connection.server_info).removeprefix("5.5.5-") == proxy.server.version

    def test_wrong_password_and_unknown_user(
        self, proxy: Proxy, certificates: Certificates, with_tls: bool
    ) -> None:
        for account in (*ACCOUNTS, Account("nobody", "none", SHA2.plugin)):
            tls = certificates if with_tls else None
            with pytest.raises(mysql.connector.Error) as caught:
                mysql.connector.connect(**settings(proxy, account, tls, password="wrong"))
            assert (caught.value.errno, caught.value.sqlstate) == (1045, "28000"), caught.value
            assert f"Access denied for user '{account.name}'@'127.0.0.1' (using password: YES)" in str(caught.value)


def test_unknown_schema(proxy: Proxy) -> None:
    with refused(1049, "42000"):
        mysql.connector.connect(**settings(proxy, database="missing"))


def test_character_sets(session: Connection) -> None:
    names = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection"
    assert rows(session, names) == [("utf8mb4", "utf8mb4", "utf8mb4", "utf8mb4_general_ci")]
    assert one(session, "SELECT CONCAT(%s, 'ä€😀')", ("€",)) == "€ä€😀"
    session.set_charset_collation("latin1")
    assert rows(session, names) == [("latin1", "latin1", "latin1", "latin1_swedish_ci")]
    assert one(session, "SELECT HEX('äß')") == "E4DF"
    assert one(session, "SELECT 'äß'") == "äß"


@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
def test_rows_are_those_of_the_server(
    session: Connection, server: DatabaseServer, table: str, prepared: bool
) -> None:
    statements = [
        "SELECT 1, -1.5, 2e0, 'ä€😀', NULL, '', X'00ff', CAST('2024-02-29 12:34:56.789' AS DATETIME(3))",
        "SELECT DATE '2024-02-29', TIME '-12:34:56', CAST(18446744073709551615 AS UNSIGNED), POINT(1, 2)",
        f"SELECT * FROM {table} WHERE id < 0",
        f"SELECT * FROM {table}",
        "SELECT JSON_OBJECT('a', 1) UNION SELECT NULL",
    ]
    run(session, f"INSERT INTO {table} (value, text) VALUES (1, 'ä€😀'), (NULL, NULL), (3, '')")
    with mysql.connector.connect(**settings(server, tls=server.certificates)) as direct:
        for sql in statements:
            with session.cursor(prepared=prepared) as through, direct.cursor(prepared=prepared) as expected:
                through.execute(sql)
                expected.execute(sql)
                assert through.fetchall() == expected.fetchall()
                assert described(through) == described(expected)


def test_affected_rows_and_insert_ids(session: Connection, table: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} (value) VALUES (1), (1), (2)")
        assert (cursor.rowcount, cursor.lastrowid) == (3, 1)
        cursor.execute(f"UPDATE {table} SET value = 1")
        assert cursor.rowcount == 1
        cursor.executemany(f"INSERT INTO {table} (value) VALUES (%s)", [(7,), (8,)])
        assert (cursor.rowcount, cursor.lastrowid) == (2, 4)
        cursor.execute(f"DELETE FROM {table}")
        assert cursor.rowcount == 5


def test_found_rows(proxy: Proxy, session: Connection, table: str) -> None:
    """A client may ask for the rows that an UPDATE finds, in place of those that it changes; by turns with others."""
    run(session, f"INSERT INTO {table} (value) VALUES (1), (1), (2)")
    with mysql.connector.connect(**settings(proxy, client_flags=[ClientFlag.FOUND_ROWS])) as other:
        for _ in range(2):
            assert run(other, f"UPDATE {table} SET value = 3") == 3
            assert run(session, f"UPDATE {table} SET value = 3") == 0


def test_errors(session: Connection, table: str) -> None:
    run(session, f"INSERT INTO {table} (id) VALUES (1)")
    with refused(1062, "23000"):
        run(session, f"INSERT INTO {table} (id) VALUES (1)")
    with refused(1146, "42S02"):
        run(session, "SELECT * FROM missing")
    with refused(1064, "42000"):
        run(session, "SYNTAX ERROR")
    with refused(1146, "42S02"):
        run(session, "SELECT * FROM missing WHERE a = %s", (1,), prepared=True)
    assert one(session, "SELECT 1") == 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # the driver shows the server's warnings as its own
def test_warnings(proxy: Proxy, table: str) -> None:
    session: Connection
    with mysql.connector.connect(**settings(proxy, get_warnings=True)) as session, session.cursor() as cursor:
        cursor.execute("SELECT CAST('1x' AS SIGNED), CAST('2x' AS SIGNED)")
        assert cursor.fetchall() == [(1, 2)]
        assert cursor.warning_count == 2
        assert [code for _, code, _ in cursor.warnings] == [1292, 1292]
        cursor.execute(f"INSERT IGNORE INTO {table} (value) VALUES ('1x')")
        assert cursor.warning_count == 1
        ((level, code, message),) = cursor.warnings
        assert level == "Warning"
        assert code in (1265, 1366)
        assert "'value'" in message
        cursor.execute("SELECT 1")
        cursor.fetchall()
        assert cursor.warning_count == 0


def test_multi_statements(session: Connection, table: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} (value) VALUES (1), (2); SELECT value FROM {table}; DO 1; SELECT 'x', 2")
        results = []
        while True:
            results.append(cursor.fetchall() if cursor.with_rows else cursor.rowcount)
            if not cursor.nextset():
                break
    assert results == [2, [(1,), (2,)], 0, [("x", 2)]]
    with session.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT * FROM missing; SELECT 2")
        assert cursor.fetchall() == [(1,)]
        with refused(1146, "42S02"):
            cursor.nextset()


def test_procedures(session: Connection, server: DatabaseServer, table: str) -> None:
    name = f"app.{table}_p"
    server.execute(
        f"CREATE PROCEDURE {name} (IN n INT, OUT doubled INT, INOUT text VARCHAR(20) CHARACTER SET utf8mb4)"
        " BEGIN SELECT n, text; SELECT 1 WHERE n > 100; SELECT NULL; SET doubled = 2 * n, text = CONCAT(text, '€'); END"
    )
    try:
        with session.cursor() as cursor:
            assert cursor.callproc(name, (21, 0, "ä")) == (21, 42, "ä€")
            assert [result.fetchall() for result in stored_results(cursor)] == [[(21, "ä")], [], [(None,)]]
    finally:
        server.execute(f"DROP PROCEDURE {name}")


def stored_results(cursor: Any) -> list[Any]:
    """Give the cursors of a procedure's results."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what is to replace it is not there yet
        return list(cursor.stored_results())


def test_load_data_local(session: Connection, proxy: Proxy, table: str, tmp_path: Path) -> None:
    path = tmp_path / "values.tsv"
    path.write_text("".join(f"{number}\tä€😀 {number}\n" for number in range(20_000)))
    load = f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} CHARACTER SET utf8mb4 (value, text)"
    assert run(session, load) == 20_000
    assert rows(session, f"SELECT SUM(value), MAX(text) FROM {table}") == [(199_990_000, "ä€😀 9999")]
    path.write_text("")
    assert run(session, load) == 0
    with (
        mysql.connector.connect(**settings(proxy, allow_local_infile=False)) as careful,
        pytest.raises(mysql.connector.Error),
    ):
        run(careful, load)


def test_prepared_statements(session: Connection, table: str) -> None:
    insert = f"INSERT INTO {table} (value, text) VALUES (%s, %s)"
    with session.cursor(prepared=True) as cursor:
        for value in range(3):
            cursor.execute(insert, (value, f"ä€😀 {value}"))
            assert (cursor.rowcount, cursor.lastrowid) == (1, value + 1)
        cursor.execute(insert, (None, None))
        cursor.execute(f"SELECT value, text FROM {table} WHERE id > %s ORDER BY id", (2,))
        assert cursor.fetchall() == [(2, "ä€😀 2"), (None, None)]
        cursor.execute(f"SELECT value FROM {table} WHERE id > %s ORDER BY id", (100,))
        assert cursor.fetchall() == []
    # Two at once, by turns.
    with session.cursor(prepared=True) as plus, session.cursor(prepared=True) as minus:
        for number in range(3):
            plus.execute("SELECT CAST(%s AS SIGNED) + 1", (number,))
            assert plus.fetchall() == [(number + 1,)]
            minus.execute("SELECT CAST(%s AS SIGNED) - 1", (number,))
            assert minus.fetchall() == [(number - 1,)]
            assert one(session, "SELECT 5") == 5


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_a_large_value_both_ways(proxy: Proxy, certificates: Certificates, with_tls: bool) -> None:
    value = hashlib.sha256(b"").hexdigest() * (LARGE // 64)
    tls = certificates if with_tls else None
    with mysql.connector.connect(**settings(proxy, tls=tls)) as session:
        assert one(session, "SELECT %s", (value,)) == value
        # Only there: of a prepared statement's rows the driver itself takes 16 MiB at most.
        digest = hashlib.sha256(value.encode()).hexdigest()
        assert one(session, "SELECT SHA2(%s, 256)", (value,), prepared=True) == digest


def test_long_data(proxy: Proxy, server: DatabaseServer, table: str) -> None:
    """A parameter sent in pieces, by COM_STMT_SEND_LONG_DATA."""
    server.execute(f"ALTER TABLE app.{table} ADD data LONGBLOB")
    data = bytes(range(256)) * 1024
    with mysql.connector.connect(**settings(proxy)) as session:
        run(session, f"INSERT INTO {table} (value, data) VALUES (%s, %s)", (1, io.BytesIO(data)), prepared=True)
        assert one(session, f"SELECT data FROM {table}") == data


def test_transactions(session: Connection, table: str) -> None:
    session.start_transaction(isolation_level="SERIALIZABLE")
    assert session.in_transaction
    run(session, f"INSERT INTO {table} (value) VALUES (1)")
    session.rollback()
    assert not session.in_transaction
    assert one(session, f"SELECT COUNT(*) FROM {table}") == 0
    session.autocommit = False
    run(session, f"INSERT INTO {table} (value) VALUES (2)")
    session.commit()
    run(session, f"INSERT INTO {table} (value) VALUES (3)")
    session.rollback()
    session.autocommit = True
    assert rows(session, f"SELECT value FROM {table}") == [(2,)]


def test_reset_connection(session: Connection, table: str) -> None:
    run(session, "SET @a = 1, sql_mode = 'ANSI', time_zone = '+03:00'")
    run(session, f"CREATE TEMPORARY TABLE {table}_temporary (id INT)")
    run(session, "START TRANSACTION")
    run(session, f"INSERT INTO {table} (value) VALUES (1)")
    session.cmd_reset_connection()
    assert rows(session, "SELECT @a, @@sql_mode LIKE '%ANSI%', @@time_zone, DATABASE()") == [
        (None, 0, "SYSTEM", "app")
    ]
    assert one(session, f"SELECT COUNT(*) FROM {table}") == 0
    with refused(1146, "42S02"):
        run(session, f"SELECT * FROM {table}_temporary")


def test_reset_session(session: Connection) -> None:
    run(session, "SET @a = 1, @b = 1")
    session.reset_session(user_variables={"b": "ä€😀"}, session_variables={"time_zone": "+03:00"})
    assert rows(session, "SELECT @a, @b, @@time_zone") == [(None, "ä€😀", "+03:00")]


@pytest.mark.parametrize("account", ACCOUNTS, ids=["native", "sha2"])
def test_change_user(session: Connection, schema: str, account: Account) -> None:
    run(session, "SET @a = 1")
    session.cmd_change_user(account.name, account.password, schema)
    assert rows(session, "SELECT SUBSTRING_INDEX(USER(), '@', 1), DATABASE(), @a") == [(account.name, schema, None)]
    session.cmd_change_user(SHA2.name, SHA2.password, "app")
    assert rows(session, "SELECT SUBSTRING_INDEX(USER(), '@', 1), DATABASE(), 'ä€😀'") == [(SHA2.name, "app", "ä€😀")]


def test_change_user_denied(session: Connection) -> None:
    with pytest.raises(mysql.connector.Error) as caught:
        session.cmd_change_user(NATIVE.name, "wrong", "app")
    assert caught.value.errno in (1045, 1873), caught.value
    assert f"user '{NATIVE.name}'@'127.0.0.1' (using password: YES)" in str(caught.value)


def test_small_commands(session: Connection) -> None:
    session.ping()
    session.cmd_init_db("mysql")
    assert one(session, "SELECT DATABASE()") == "mysql"
    assert session.is_connected()
    number = session.connection_id
    session.reconnect()
    assert session.connection_id != number
    assert one(session, "SELECT DATABASE()") == "app"
