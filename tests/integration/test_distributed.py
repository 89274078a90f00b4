"""XA transactions hold their connection while they belong to it, and leave it as good as new."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tests.integration.proxy import Proxy, backend, in_transaction, one, refused, rows, run, vanish

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer


@pytest.fixture(autouse=True)
def recovered(server: DatabaseServer, table: str) -> Iterator[None]:
    """Roll back what a test has left prepared, before its table is dropped."""
    yield
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("XA RECOVER")
        for form, length, _, data in cursor.fetchall():
            xid = text(data)
            cursor.execute("XA ROLLBACK %s, %s, %s", (xid[:length], xid[length:], form))


def text(data: str | bytes) -> str:
    """Give an xid as text, which MySQL shows as that and MariaDB as bytes."""
    return data.decode() if isinstance(data, bytes) else data


def prepared(connection: Connection) -> list[str]:
    """Give the ids of the XA transactions that are prepared."""
    return [text(row[3]) for row in rows(connection, "XA RECOVER")]


def reset(connection: Connection) -> None:
    """Send COM_RESET_CONNECTION."""
    connection._execute_command(0x1F, b"")  # type: ignore[attr-defined]
    connection._read_ok_packet()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "end",
    [
        ["XA END 'x'", "XA COMMIT 'x' ONE PHASE"],
        ["XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"],
        ["XA END 'x'", "XA ROLLBACK 'x'"],
        ["XA END 'x'", "XA PREPARE 'x'", "XA ROLLBACK 'x'"],
    ],
    ids=["one-phase", "commit", "rollback", "prepared-rollback"],
)
def test_the_session_is_free_again(narrow: Proxy, table: str, end: list[str]) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for turn in range(1, 3):
            run(session, "XA START 'x'")
            run(session, f"INSERT INTO {table} (value) VALUES (1)")
            assert in_transaction(session)
            for statement in end:
                run(session, statement)
            assert not in_transaction(session)
            assert one(other, f"SELECT COUNT(*) FROM {table}") == (turn if "COMMIT" in end[-1] else 0)


def test_two_phases_in_two_sessions(narrow: Proxy, server: DatabaseServer, table: str) -> None:
    """MySQL lets go of a prepared transaction at once; MariaDB when its client has gone."""
    with narrow.connect() as other:
        session = narrow.connect()
        run(session, "XA START 'x','1'")
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        run(session, "XA END 'x','1'")
        run(session, "XA PREPARE 'x','1'")
        assert in_transaction(session) == (server.kind == "mariadb")
        if server.kind == "mariadb":
            vanish(session)
        assert prepared(other) == ["x1"]
        run(other, "XA COMMIT 'x','1'")
        assert prepared(other) == []
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
        if server.kind == "mysql":
            assert one(session, f"SELECT COUNT(*) FROM {table}") == 1
        vanish(session)


WAYS: dict[str, Any] = {"vanish": vanish, "quit": pymysql.connections.Connection.close, "reset": reset}
# How far it gets before its client is gone.
STAGES = {
    "active": [],
    "idle": ["XA END 'x'"],
    "prepared": ["XA END 'x'", "XA PREPARE 'x'"],
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_leaves(narrow: Proxy, table: str, stage: str, way: str) -> None:
    """What is prepared survives; the connection, or the one in its place, can be used."""
    session = narrow.connect()
    run(session, "XA START 'x'")
    run(session, f"INSERT INTO {table} VALUES (1, 1, '')")
    for statement in STAGES[stage]:
        run(session, statement)
    WAYS[way](session)
    with narrow.connect() as other:
        if stage == "prepared":
            assert prepared(other) == ["x"]
            run(other, "XA COMMIT 'x'")
        else:
            assert prepared(other) == []
            run(other, f"INSERT INTO {table} VALUES (1, 2, '')")
        assert rows(other, f"SELECT value FROM {table}") == [(1 if stage == "prepared" else 2,)]
        run(other, "BEGIN")
        run(other, f"UPDATE {table} SET value = 5")
        run(other, "COMMIT")
    if way == "reset":
        assert one(session, f"SELECT value FROM {table}") == 5
        session.close()


@pytest.mark.parametrize("end", [["XA ROLLBACK 'x'"], []], ids=["rollback", "vanish"])
def test_one_that_an_error_has_rolled_back(proxy: Proxy, table: str, end: list[str]) -> None:
    """The server tells that no transaction is open, and takes no other statement than XA ROLLBACK."""
    with proxy.connect() as winner, proxy.connect() as other, ThreadPoolExecutor(1) as thread:
        victim = proxy.connect()
        values = ", ".join(f"({number}, 0, '')" for number in range(3, 60))
        run(winner, f"INSERT INTO {table} VALUES (1, 0, ''), (2, 0, '')")
        run(victim, "XA START 'x'")
        run(victim, f"UPDATE {table} SET value = 1 WHERE id = 1")
        number = backend(victim)
        winner.begin()
        run(winner, f"INSERT INTO {table} VALUES {values}")  # the one that has written less is rolled back
        run(winner, f"UPDATE {table} SET value = 2 WHERE id = 2")
        crossing = thread.submit(run, winner, f"UPDATE {table} SET value = 2 WHERE id = 1")
        with refused(1213):
            run(victim, f"UPDATE {table} SET value = 1 WHERE id = 2")
        crossing.result()
        winner.commit()
        for _ in range(3):
            assert backend(other) != number
        with pytest.raises(pymysql.MySQLError) as caught:
            rows(victim, f"SELECT * FROM {table}")
        assert caught.value.args[0] in (1399, 1614)
        assert backend(victim) == number
        for statement in end:
            run(victim, statement)
            assert one(victim, f"SELECT value FROM {table} WHERE id = 1") == 2
        vanish(victim)
        with proxy.connect() as first, proxy.connect() as second:
            for each in (first, second, winner, other):
                each.begin()
                assert one(each, f"SELECT value FROM {table} WHERE id = 2") == 2
            for each in (first, second, winner, other):
                each.commit()


def test_ids_that_are_no_one_s(narrow: Proxy) -> None:
    with narrow.connect() as session, narrow.connect() as other:
        for statement in ("XA COMMIT 'nobody'", "XA ROLLBACK 'nobody'", "XA END 'nobody'", "XA PREPARE 'nobody'"):
            with pytest.raises(pymysql.MySQLError):
                run(session, statement)
        assert prepared(session) == []
        assert one(other, "SELECT 1") == 1
