"""Node's mysql2 and mariadb through the proxy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.node.install import DriversMissingError
from tests.integration.node.process import DriverError, Node, Result, Session
from tests.integration.proxy import ACCOUNTS, NATIVE, SHA2, Account, Proxy
from tests.servers import Certificates, DatabaseServer

LARGE = 20 << 20  # bytes; more than one packet can carry


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """The process that runs the drivers."""
    try:
        process = Node()
    except DriversMissingError as error:
        # On a developer's machine the rest is still worth running; in CI nothing may be left out.
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with process:
        yield process


@pytest.fixture(params=["mysql2", "mariadb"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the drivers."""
    name: str = request.param
    return name


@pytest.fixture
def session(node: Node, driver: str, proxy: Proxy) -> Iterator[Session]:
    """A session through the proxy."""
    with node.connect(driver, proxy) as session:
        yield session


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> Certificates | None:
    """Without TLS, and with it and the proxy's certificate verified."""
    return certificates if request.param else None


@contextmanager
def refused(code: int, sqlstate: str) -> Iterator[None]:
    """Expect MySQL's error ``code`` with ``sqlstate``."""
    with pytest.raises(DriverError) as caught:
        yield
    assert (caught.value.code, caught.value.sqlstate) == (code, sqlstate), caught.value


@pytest.mark.parametrize("account", ACCOUNTS, ids=["native", "sha2"])
def test_login(node: Node, driver: str, proxy: Proxy, tls: Certificates | None, account: Account) -> None:
    with node.connect(driver, proxy, account, tls) as session:
        assert session.rows("SELECT SUBSTRING_INDEX(USER(), '@', 1), DATABASE()") == [[account.name, "app"]]
        assert session.version.removeprefix("5.5.5-") == proxy.server.version


def test_login_denied(node: Node, driver: str, proxy: Proxy, tls: Certificates | None) -> None:
    """A wrong password and an unknown user look alike."""
    for account in (*ACCOUNTS, Account("nobody", "none", SHA2.plugin)):
        with pytest.raises(DriverError) as caught:
            node.connect(driver, proxy, account, tls, password="wrong")
        assert (caught.value.code, caught.value.sqlstate) == (1045, "28000"), caught.value
        assert f"Access denied for user '{account.name}'@'127.0.0.1' (using password: YES)" in caught.value.message


def test_unknown_schema(node: Node, driver: str, proxy: Proxy) -> None:
    with refused(1049, "42000"):
        node.connect(driver, proxy, database="missing")


def test_character_sets(node: Node, driver: str, proxy: Proxy) -> None:
    names = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results"
    for charset in ("utf8mb4", "latin1"):
        with node.connect(driver, proxy, charset=charset) as session:
            assert session.rows(names) == [[charset] * 3]
            text = "ä€😀" if charset == "utf8mb4" else "äß"
            assert session.one("SELECT HEX(?)", text) == text.encode(charset.removesuffix("mb4")).hex().upper()
            assert session.one(f"SELECT '{text}'") == text
            assert session.execute("SELECT ?", text)[0].rows == [[text]]


@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
def test_rows_are_those_of_the_server(
    node: Node, driver: str, session: Session, server: DatabaseServer, table: str, prepared: bool
) -> None:
    session.run(f"INSERT INTO {table} (value, text) VALUES (1, 'ä€😀'), (NULL, NULL), (3, '')")
    with node.connect(driver, server, tls=server.certificates) as direct:
        for sql in (
            "SELECT 1, -1.5, 2e0, 'ä€😀', NULL, '', X'00ff', CAST('2024-02-29 12:34:56.789' AS DATETIME(3))",
            "SELECT DATE '2024-02-29', TIME '-12:34:56', CAST(18446744073709551615 AS UNSIGNED), POINT(1, 2)",
            f"SELECT * FROM {table}",
            f"SELECT * FROM {table} WHERE id < 0",
            # MariaDB has no such type: there drivers go by metadata that is an extension of MariaDB's own protocol.
            *(["SELECT JSON_OBJECT('a', 1) UNION SELECT NULL"] if server.kind == "mysql" else []),
        ):
            through, expected = (each.execute(sql) if prepared else each.results(sql) for each in (session, direct))
            assert through == expected


def test_affected_rows_insert_ids_and_warnings(session: Session, table: str) -> None:
    assert session.run(f"INSERT INTO {table} (value) VALUES (1), (1), (2)") == done(3, 1)
    assert session.run(f"UPDATE {table} SET value = 1") == done(1)
    assert session.run(f"INSERT IGNORE INTO {table} (value) VALUES ('1x')") == done(1, 4, warnings=1)
    assert session.run(f"UPDATE IGNORE {table} SET value = '2x' WHERE id = 4") == done(1, warnings=1)
    ((level, code, message),) = session.rows("SHOW WARNINGS")
    assert level == "Warning"
    assert code in (1265, 1366)
    assert "'value'" in message
    results = session.do("insertMany", table=table, rows=[[7, "ä€😀"], [8, None]])
    assert sum(result["affected"] for result in results) == 2
    assert session.rows(f"SELECT value, text FROM {table} WHERE value > 6 ORDER BY id") == [[7, "ä€😀"], [8, None]]
    assert session.run(f"DELETE FROM {table}").affected == 6


def done(affected: int, insert_id: int = 0, warnings: int = 0) -> Result:
    """Give what a statement without rows gives."""
    return Result(affected=affected, insertId=insert_id, warnings=warnings)


def test_found_rows(node: Node, driver: str, proxy: Proxy, session: Session, table: str) -> None:
    """A client may ask for the rows that an UPDATE finds, in place of those that it changes; by turns with others."""
    session.run(f"INSERT INTO {table} (value) VALUES (1), (1), (2)")
    with node.connect(driver, proxy, foundRows=True) as other:
        for _ in range(2):
            assert other.run(f"UPDATE {table} SET value = 3").affected == 3
            assert session.run(f"UPDATE {table} SET value = 3").affected == 0


def test_errors(session: Session, table: str) -> None:
    session.run(f"INSERT INTO {table} (id) VALUES (1)")
    with refused(1062, "23000"):
        session.run(f"INSERT INTO {table} (id) VALUES (1)")
    with refused(1146, "42S02"):
        session.run("SELECT * FROM missing")
    with refused(1146, "42S02"):
        session.execute("SELECT * FROM missing WHERE a = ?", 1)
    with refused(1062, "23000"):
        session.execute(f"INSERT INTO {table} (id) VALUES (?)", 1)
    with refused(1064, "42000"):
        session.run("SELECT 1; SELECT 2")  # this session did not ask for several statements at once
    assert session.one("SELECT 1") == 1


def test_multi_statements(node: Node, driver: str, proxy: Proxy, table: str) -> None:
    with node.connect(driver, proxy, multipleStatements=True) as session:
        first, second, third, fourth = session.results(
            f"INSERT INTO {table} (value) VALUES (1), (2); SELECT value FROM {table}; DO 1; SELECT 'x', 2"
        )
        assert (first.affected, second.rows, third.affected, fourth.rows) == (2, [[1], [2]], 0, [["x", 2]])
        with refused(1146, "42S02"):
            session.results("SELECT 1; SELECT * FROM missing; SELECT 2")
        assert session.one("SELECT 1") == 1


@pytest.mark.parametrize("prepared", [False, True], ids=["text", "prepared"])
def test_procedures(session: Session, server: DatabaseServer, table: str, prepared: bool) -> None:
    name = f"app.{table}_p"
    server.execute(
        f"CREATE PROCEDURE {name} (IN n INT, IN text VARCHAR(20) CHARACTER SET utf8mb4)"
        " BEGIN SELECT n, text; SELECT 1 WHERE n > 100; SELECT NULL; END"
    )
    try:
        call = session.execute if prepared else session.results
        *found, end = call(f"CALL {name}(?, ?)", 21, "ä€😀")
        assert [result.rows for result in found] == [[[21, "ä€😀"]], [], [[None]]]
        assert end.affected == 0
        assert session.one("SELECT 1") == 1
    finally:
        server.execute(f"DROP PROCEDURE {name}")


def test_load_data_local(session: Session, table: str, tmp_path: Path) -> None:
    path = tmp_path / "values.tsv"
    path.write_text("".join(f"{number}\tä€😀 {number}\n" for number in range(20_000)))
    load = f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} CHARACTER SET utf8mb4 (value, text)"
    assert session.run(load).affected == 20_000
    assert session.rows(f"SELECT CAST(SUM(value) AS CHAR), MAX(text) FROM {table}") == [["199990000", "ä€😀 9999"]]
    path.write_text("")
    assert session.run(load).affected == 0


def test_load_data_local_not_offered(node: Node, proxy: Proxy, table: str, tmp_path: Path) -> None:
    path = tmp_path / "values.tsv"
    path.write_text("1\n")
    with node.connect("mariadb", proxy, localInfile=False) as session:
        with pytest.raises(DriverError):
            session.run(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} (value)")
        assert session.one(f"SELECT COUNT(*) FROM {table}") == 0


def test_prepared_statements(session: Session, table: str) -> None:
    insert = f"INSERT INTO {table} (value, text) VALUES (?, ?)"
    for value in range(3):
        assert session.execute(insert, value, f"ä€😀 {value}") == [done(1, value + 1)]
    assert session.execute(insert, None, None) == [done(1, 4)]
    select = f"SELECT value, text FROM {table} WHERE id > ? ORDER BY id"
    assert session.execute(select, 2)[0].rows == [[2, "ä€😀 2"], [None, None]]
    assert session.execute(select, 100)[0].rows == []
    found = session.prepared(select, [3], [2], [100])
    assert [result.rows for result in found] == [[[None, None]], [[2, "ä€😀 2"], [None, None]], []]
    assert session.one("SELECT 5") == 5


def test_a_large_value_both_ways(node: Node, driver: str, proxy: Proxy, tls: Certificates | None) -> None:
    text = "0123456789abcdef"
    digest = hashlib.sha256(text.encode() * (LARGE // 16)).hexdigest()
    with node.connect(driver, proxy, tls=tls) as session:
        call = session.execute if tls else session.results
        (result,) = call("SELECT ?", {"repeat": [text, LARGE // 16]})
        assert result.rows == [[{"length": LARGE, "sha256": digest}]]


def test_streamed_rows(session: Session) -> None:
    digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4)"
    tables = ", ".join(f"{digits} t{number}" for number in range(6))
    sql = f"SELECT t0.d + 5*t1.d + 25*t2.d + 125*t3.d + 625*t4.d + 3125*t5.d, REPEAT('x', 100) FROM {tables}"
    assert session.do("stream", sql=sql) == [5**6, sum(range(5**6))]


def test_commands_sent_before_the_first_is_answered(session: Session) -> None:
    statements = ["SELECT 1", "SELECT * FROM missing", "SET @a = 2", "SELECT @a", "SYNTAX ERROR", "SELECT 3"]
    found = session.do("atOnce", statements=statements)
    assert [each.get("rows") for each in found] == [[[1]], None, None, [[2]], None, [[3]]]
    assert [each["error"]["code"] for each in found if "error" in each] == [1146, 1064]


def test_transactions(node: Node, driver: str, proxy: Proxy, session: Session, table: str) -> None:
    with node.connect(driver, proxy) as other:
        session.do("begin")
        session.run(f"INSERT INTO {table} (value) VALUES (1)")
        assert other.one(f"SELECT COUNT(*) FROM {table}") == 0
        session.do("rollback")
        assert session.one(f"SELECT COUNT(*) FROM {table}") == 0
        session.do("begin")
        session.execute(f"INSERT INTO {table} (value) VALUES (?)", 2)
        session.do("commit")
        assert other.rows(f"SELECT value FROM {table}") == [[2]]


def test_reset(session: Session, table: str) -> None:
    session.run("SET @a = 1, sql_mode = 'ANSI', time_zone = '+03:00'")
    session.run(f"CREATE TEMPORARY TABLE {table}_temporary (id INT)")
    session.do("begin")
    session.run(f"INSERT INTO {table} (value) VALUES (1)")
    session.do("reset")
    assert session.rows("SELECT @a, @@sql_mode LIKE '%ANSI%', @@time_zone, DATABASE()") == [[None, 0, "SYSTEM", "app"]]
    assert session.one(f"SELECT COUNT(*) FROM {table}") == 0
    with refused(1146, "42S02"):
        session.run(f"SELECT * FROM {table}_temporary")
    assert session.execute("SELECT ?", "ä")[0].rows == [["ä"]]


@pytest.mark.parametrize("account", ACCOUNTS, ids=["native", "sha2"])
def test_change_user(driver: str, session: Session, server: DatabaseServer, schema: str, account: Account) -> None:
    if driver == "mariadb" and server.kind == "mysql":
        return  # the driver refuses to
    session.run("SET @a = 1")
    session.do("changeUser", options={"user": account.name, "password": account.password, "database": schema})
    assert session.rows("SELECT SUBSTRING_INDEX(USER(), '@', 1), DATABASE(), @a") == [[account.name, schema, None]]
    session.do("changeUser", options={"user": SHA2.name, "password": SHA2.password, "database": "app"})
    assert session.rows("SELECT SUBSTRING_INDEX(USER(), '@', 1), DATABASE(), 'ä€😀'") == [[SHA2.name, "app", "ä€😀"]]


def test_change_user_denied(node: Node, proxy: Proxy) -> None:
    """Of mysql2: the other driver waits for ever, with or without a proxy."""
    with node.connect("mysql2", proxy) as session, refused(1873, "28000"):
        session.do("changeUser", options={"user": NATIVE.name, "password": "wrong", "database": "app"})


def test_ping(session: Session) -> None:
    session.do("ping")
    assert session.one("SELECT 1") == 1
