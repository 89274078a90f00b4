"""PyMySQL through the proxy: both ways to prove a password, with and without TLS."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import CLIENT
from pymysql.cursors import DictCursor, SSCursor

from tests.integration.proxy import (
    ACCOUNTS,
    NATIVE,
    SHA2,
    Account,
    Proxy,
    backend,
    one,
    refused,
    rows,
    run,
)

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

BOTH_WAYS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
EACH_ACCOUNT = pytest.mark.parametrize("account", ACCOUNTS, ids=["native", "sha2"])


@BOTH_WAYS
@EACH_ACCOUNT
def test_login(proxy: Proxy, account: Account, tls: bool) -> None:
    with proxy.connect(account, tls=tls) as session:
        assert one(session, "SELECT CURRENT_USER()").startswith(f"{account.name}@")
        assert one(session, "SELECT DATABASE()") == "app"
        assert one(session, "SELECT 'ä€😀'") == "ä€😀"
        assert session.get_server_info() == one(session, "SELECT VERSION()") or "MariaDB" in session.get_server_info()


@BOTH_WAYS
@EACH_ACCOUNT
def test_a_wrong_password(proxy: Proxy, account: Account, tls: bool) -> None:
    with refused(1045, f"Access denied for user '{account.name}'@'127.0.0.1' (using password: YES)"):
        proxy.connect(Account(account.name, "wrong", account.plugin), tls=tls)
    with refused(1045, f"Access denied for user '{account.name}'@'127.0.0.1' (using password: NO)"):
        proxy.connect(Account(account.name, "", account.plugin), tls=tls)


@BOTH_WAYS
def test_an_unknown_user(proxy: Proxy, tls: bool) -> None:
    with refused(1045, "Access denied for user 'nobody'@'127.0.0.1' (using password: YES)"):
        proxy.connect(Account("nobody", "wrong", NATIVE.plugin), tls=tls)


def test_an_unknown_schema(proxy: Proxy) -> None:
    with refused(1049, "no_such_schema"):
        proxy.connect(database="no_such_schema")


def test_types(proxy: Proxy, direct: Connection) -> None:
    sql = (
        "SELECT 1, -1, 18446744073709551615, 1.5, 1e100, NULL, '', X'00FF', DATE '2024-02-29', TIME '-12:34:56',"
        " TIMESTAMP '2024-02-29 12:34:56.789', CAST('[1]' AS CHAR), TRUE"
    )
    with proxy.connect() as session:
        (found,) = rows(session, sql)
        assert [found] == rows(direct, sql)
        assert found[3] == decimal.Decimal("1.5")
        assert found[5] is None
        assert found[8] == datetime.date(2024, 2, 29)


def test_affected_rows_and_insert_ids(proxy: Proxy, table: str) -> None:
    with proxy.connect() as session, session.cursor() as cursor:
        assert cursor.execute(f"INSERT INTO {table} (value) VALUES (1), (2), (3)") == 3
        assert cursor.lastrowid == 1
        assert cursor.executemany(f"INSERT INTO {table} (value) VALUES (%s)", [(number,) for number in range(50)]) == 50
        assert cursor.lastrowid == 4
        assert cursor.execute(f"UPDATE {table} SET value = 0 WHERE id < 3") == 2
        assert cursor.execute(f"DELETE FROM {table} WHERE id > 100") == 0
        assert cursor.execute(f"SELECT * FROM {table} WHERE id > 100") == 0
        assert cursor.fetchall() == ()


def test_errors(proxy: Proxy, table: str) -> None:
    with proxy.connect() as session:
        run(session, f"INSERT INTO {table} (id) VALUES (1)")
        for sql, kind, code in [
            (f"INSERT INTO {table} (id) VALUES (1)", pymysql.IntegrityError, 1062),
            ("SELECT * FROM no_such_table", pymysql.ProgrammingError, 1146),
            ("SELECTX", pymysql.ProgrammingError, 1064),
            ("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'grün', MYSQL_ERRNO = 31000", pymysql.OperationalError, 31000),
        ]:
            with pytest.raises(kind) as caught:
                run(session, sql)
            assert caught.value.args[0] == code
        assert caught.value.args[1] == "grün"


def test_cursors(proxy: Proxy) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n"
    found: Any
    with proxy.connect(cursorclass=DictCursor) as session, session.cursor() as cursor:
        cursor.execute(numbers)
        found = cursor.fetchall()
        assert found == [{"i": number} for number in range(1, 1001)]
    with proxy.connect(cursorclass=SSCursor) as session, session.cursor() as cursor:
        cursor.execute(numbers)
        found = cursor.fetchmany(10)
        assert found == [(number,) for number in range(1, 11)]
        with pytest.warns(UserWarning, match="left incomplete"):  # PyMySQL reads the rest
            cursor.execute("SELECT 'next'")
        found = cursor.fetchall()
        assert found == [("next",)]


def test_several_result_sets(proxy: Proxy) -> None:
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as session, session.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT 2, 3; DO 0; SELECT 4 WHERE 1 = 0")
        found = [list(cursor.fetchall())]
        while cursor.nextset():
            found.append(list(cursor.fetchall()))
        assert found == [[(1,)], [(2, 3)], [], []]
        cursor.execute("DROP PROCEDURE IF EXISTS several")
        cursor.execute("CREATE PROCEDURE several(IN n INT, OUT m INT) BEGIN SELECT n; SELECT n + 1; SET m = n + 2; END")
        cursor.callproc("several", (5, 0))
        found = [list(cursor.fetchall())]
        while cursor.nextset():
            found.append(list(cursor.fetchall()))
        assert found == [[(5,)], [(6,)], []]
        assert one(session, "SELECT @_several_1") == 7
        cursor.execute("DROP PROCEDURE several")


def test_load_data_local(proxy: Proxy, table: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("".join(f"{number},text {number}\n" for number in range(1, 20001)))
    load = f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} FIELDS TERMINATED BY ',' (id, text)"
    with proxy.connect(local_infile=True) as session:
        assert run(session, load) == 20000
        assert rows(session, f"SELECT COUNT(*), MAX(id), MAX(LENGTH(text)) FROM {table}") == [(20000, 20000, 10)]
        with pytest.raises((pymysql.MySQLError, OSError)):
            run(session, load.replace("rows.csv", "no_such_file"))
        assert one(session, f"SELECT COUNT(*) FROM {table}") == 20000
    with proxy.connect() as session, refused(1148):
        run(session, load)


@BOTH_WAYS
def test_a_large_value_both_ways(proxy: Proxy, tls: bool) -> None:
    value = bytes(range(256)) * (20 << 12)  # 20 MiB
    with proxy.connect(SHA2, tls=tls, read_timeout=60, max_allowed_packet=64 << 20) as session:
        # Not %s: PyMySQL would escape it.
        assert one(session, f"SELECT LENGTH(X'{value[: 4 << 20].hex()}')") == 4 << 20
        big = "ab" * (10 << 20)
        assert one(session, f"SELECT '{big}'") == big
        assert one(session, "SELECT 1") == 1


@BOTH_WAYS
def test_ping_and_kill(proxy: Proxy, tls: bool) -> None:
    with proxy.connect(tls=tls) as session:
        session.ping(reconnect=False)
        with proxy.connect(tls=tls) as other:
            session.kill(other.thread_id())
            with pytest.raises(pymysql.OperationalError):
                run(other, "SELECT 1")
        assert one(session, "SELECT 1") == 1


def test_transactions(proxy: Proxy, table: str) -> None:
    with proxy.connect(autocommit=False) as session, proxy.connect() as other:
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
        session.commit()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
        session.autocommit(True)
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 2
        assert session.get_autocommit()


def test_a_session_that_leaves_does_not_cost_the_connection(narrow: Proxy, table: str) -> None:
    """However it leaves, and however soon after its last statement: the next is served on the same connection."""
    with narrow.connect() as other:
        number = backend(other)
        for _ in range(20):
            leaver = narrow.connect(init_command="SET time_zone = '+01:00'")
            run(leaver, f"INSERT INTO {table} (value) VALUES (1)")
            leaver.close()
        assert backend(other) == number
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 20
