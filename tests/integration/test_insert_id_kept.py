"""LAST_INSERT_ID() of a session that becomes pinned, beside what the statement before left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.network import PATIENCE, Forwarder, wait_until_closed
from tests.integration.packets import Packets, error_code
from tests.integration.proxy import Proxy, one, rows, run
from tests.integration.targets import behind

if TYPE_CHECKING:
    from tests.integration.proxy import Connection
    from tests.servers import DatabaseServer


@pytest.fixture
def session(narrow: Proxy, table: str) -> Iterator[Connection]:
    """A session whose LAST_INSERT_ID() is 1, on a connection that has served another since."""
    with narrow.connect() as session, narrow.connect() as other:
        run(session, f"INSERT INTO {table} (value) VALUES (1)")
        one(other, "SELECT 1")
        yield session


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("UPDATE IGNORE {t} SET value = '2x'", "SHOW WARNINGS"),
        ("UPDATE {t} SET value = 2", "SELECT ROW_COUNT()"),
        ("SELECT 1 UNION SELECT 2", "SELECT FOUND_ROWS()"),
    ],
)
def test_diagnostics_are_not_lost_for_it(
    session: Connection, direct: Connection, table: str, statement: str, question: str
) -> None:
    run(session, statement.format(t=table))
    found = rows(session, question)
    run(direct, f"UPDATE {table} SET value = 1")
    run(direct, statement.format(t=table))
    assert found == rows(direct, question)
    assert found
    assert one(session, "SELECT LAST_INSERT_ID()") == 1


def test_both_at_once(session: Connection, table: str) -> None:
    """To bring back the one ends the other, which is told from memory then."""
    run(session, f"UPDATE {table} SET value = 2")
    assert one(session, "SELECT ROW_COUNT() + LAST_INSERT_ID() * 10") == 11
    assert one(session, "SELECT LAST_INSERT_ID()") == 1


def test_an_insert_that_reads_the_row_count(session: Connection, table: str) -> None:
    run(session, f"UPDATE {table} SET value = 5")
    run(session, f"INSERT INTO {table} (value) VALUES (ROW_COUNT())")
    assert one(session, "SELECT LAST_INSERT_ID()") == 2
    assert rows(session, f"SELECT value FROM {table}") == [(5,), (1,)]


def test_an_insert_that_pins(session: Connection, server: DatabaseServer, table: str) -> None:
    """Only its reply tells that it does."""
    server.execute(
        f"CREATE FUNCTION app.{table}_f() RETURNS INT NO SQL BEGIN SET @a = 7; RETURN 7; END",
    )
    try:
        run(session, f"INSERT INTO {table} (value) VALUES ({table}_f())")
        assert one(session, "SELECT LAST_INSERT_ID()") == 2
        assert one(session, "SELECT @a") == 7
    finally:
        server.execute(f"DROP FUNCTION app.{table}_f")


class Gate:
    """Holds back what the server says, from the moment when it is closed."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.held = threading.Event()

    def __call__(self, data: bytes) -> bytes:
        """Pass something on."""
        if not self._open.is_set():
            self.held.set()
            self._open.wait(PATIENCE)
        return data

    def close(self) -> None:
        """From here on nothing passes."""
        self._open.clear()

    def open(self) -> None:
        """Let everything pass."""
        self._open.set()


@pytest.mark.parametrize("killed", [False, True], ids=["vanishes", "is killed"])
def test_whoever_leaves_while_it_is_asked_for(server: DatabaseServer, table: str, folder: Path, killed: bool) -> None:
    """The one who gets the connection next may be gone before the answer is there, which is another session's."""
    gate = Gate()
    with (
        Forwarder(server.host, server.port, gate) as forwarder,
        Proxy(behind(forwarder, server), folder, max_connections=1) as proxy,
        proxy.connect() as session,
        proxy.connect() as killer,
        Packets(proxy.host, proxy.port) as other,
    ):
        run(session, f"INSERT INTO {table} (id, value) VALUES (41, 1)")
        run(session, f"INSERT INTO {table} (value) VALUES (2)")
        gate.close()
        other.send(b"\x03SELECT @x")
        assert gate.held.wait(PATIENCE)
        if killed:
            run(killer, f"KILL QUERY {other.connection.thread_id()}")
            assert error_code(other.packet()[1]) == 1317
        else:
            near, far = other.socket.getsockname(), other.socket.getpeername()
            other.close()
            wait_until_closed(near, far)
        gate.open()
        assert one(session, "SELECT LAST_INSERT_ID()") == 42
