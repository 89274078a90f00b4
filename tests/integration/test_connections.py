"""Many clients on few connections, and what clients see when connections cannot be had, or break."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pymysql
import pytest

from tests.integration.network import Forwarder, until, wait_until_read
from tests.integration.packets import Packets, error_code
from tests.integration.proxy import NATIVE, SHA2, Account, Proxy, one, refused, rows, run
from tests.integration.targets import TargetProxy, behind
from tests.servers import DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""

QUERY = b"\x03"
LOST = 2013


@contextmanager
def asleep(proxy: Proxy) -> Iterator[None]:
    """Stop the proxy for as long as the block runs: what happens meanwhile it finds out all at once."""
    os.kill(proxy.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(proxy.pid, signal.SIGCONT)


def backend(connection: Connection) -> int:
    """Give the server's own id of the connection that runs this."""
    number: int = one(connection, "SELECT CONNECTION_ID()")
    return number


# -- many clients ------------------------------------------------------------------------------------------------------

CLIENTS, CONNECTIONS, ROUNDS = 500, 20, 2
CROWD = [Account("crowd_one", "Crowd-1", "MYSQL_NATIVE_PASSWORD"), Account("crowd_two", "Crowd-2", "MYSQL_NATIVE_PASSWORD")]


def work(connection: Connection, table: str, number: int) -> None:
    """Ask for what only this client can have: its own values, its own schema variable, its own transaction."""
    run(connection, "SET time_zone = %s", f"+0{number % 10}:00")
    for turn in range(ROUNDS):
        mine = f"{number}-{turn}"
        assert one(connection, "SELECT %s", mine) == mine
        run(connection, f"INSERT INTO {table} (value, text) VALUES (%s, %s)", number, mine)
        connection.begin()
        run(connection, f"INSERT INTO {table} (value, text) VALUES (%s, 'kept')", number)
        assert rows(connection, f"SELECT text FROM {table} WHERE value = %s AND text = %s", number, mine) == [(mine,)]
        connection.commit()
        connection.begin()
        run(connection, f"DELETE FROM {table} WHERE value = %s", number)
        connection.rollback()
        assert one(connection, "SELECT @@time_zone") == f"+0{number % 10}:00"


@pytest.mark.parametrize("users", [1, 2], ids=["one user", "two users"])
def test_a_crowd(server: DatabaseServer, folder: Path, table: str, users: int) -> None:
    """500 clients at a time, 20 connections at most: the server never sees more, and each client its own answers."""
    server.execute(f"ALTER TABLE app.{table} ADD INDEX (value)")
    accounts = CROWD[:users]
    for account in accounts:
        server.create_user(account.name, account.password)
    everyone_is_there = threading.Barrier(CLIENTS, timeout=60)
    ended = threading.Event()
    most = 0

    def look_on() -> None:
        nonlocal most
        with server.admin() as admin:
            while not ended.is_set():
                names = [line[1] for line in rows(admin, "SHOW PROCESSLIST")]
                most = max(most, sum(name.startswith("crowd_") for name in names))

    def come(number: int) -> None:
        with proxy.connect(accounts[number % users], read_timeout=60) as connection:
            everyone_is_there.wait()
            work(connection, table, number)

    with (
        Proxy(server, folder, max_connections=CONNECTIONS, accounts=accounts,
              target_group={"connection_borrow_timeout": 60}) as proxy,
        ThreadPoolExecutor(CLIENTS + 1) as threads,
    ):
        looking_on = threads.submit(look_on)
        try:
            clients = [threads.submit(come, number) for number in range(CLIENTS)]
            wait(clients, return_when=FIRST_EXCEPTION)
        finally:
            everyone_is_there.abort()  # nobody waits for one who failed
            ended.set()
            looking_on.result()
        for failed in [client for client in clients if client.exception()]:
            failed.result()
    assert 1 < most <= CONNECTIONS
    with server.admin() as admin:
        counts = f"SELECT COUNT(*), COUNT(DISTINCT value, text) FROM app.{table}"
        assert rows(admin, counts) == [(CLIENTS * ROUNDS * 2, CLIENTS * (ROUNDS + 1))]


@on_mariadb
def test_a_crowd_at_the_door(wide_proxy: Proxy) -> None:
    """Clients that come all at once, while the proxy has other things to do, are all let in."""
    with ExitStack() as stack:
        with asleep(wide_proxy):
            doors = [
                stack.enter_context(socket.create_connection((wide_proxy.host, wide_proxy.port), 10)) for _ in range(300)
            ]
        for door in doors:
            assert door.recv(5)[4] == 10  # the version of the protocol, first in a greeting


# -- no connection to be had -------------------------------------------------------------------------------------------


def holder(proxy: Proxy, account: Account = NATIVE) -> Connection:
    """Give a session that keeps a connection until it commits."""
    connection = proxy.connect(account)
    connection.begin()
    one(connection, "SELECT 1")
    return connection


def queue(proxy: Proxy, sql: str, account: Account = NATIVE) -> Packets:
    """Send a statement that has to wait; return when the proxy has it."""
    client = Packets(proxy.host, proxy.port, account)
    client.send(QUERY + sql.encode())
    wait_until_read(client.socket)
    return client


@pytest.fixture
def impatient(server: DatabaseServer, folder: Path) -> Iterator[Proxy]:
    """A proxy with one connection, for which nobody waits longer than a second."""
    with Proxy(server, folder, max_connections=1, target_group={"connection_borrow_timeout": 1}) as proxy:
        yield proxy


def test_waiting_ends(impatient: Proxy, table: str) -> None:
    """Who has waited long enough is told so, has not run, and may go on."""
    with impatient.connect() as second, holder(impatient) as first:
        for _ in range(2):
            with refused(9501, "Timed-out waiting"):
                run(second, f"INSERT INTO {table} (value) VALUES (1)")
        second.ping(reconnect=False)
        first.commit()
        run(second, f"INSERT INTO {table} (value) VALUES (2)")
        assert rows(first, f"SELECT value FROM {table}") == [(2,)]


@on_mariadb
def test_logins_that_need_a_connection_wait_too(impatient: Proxy, schema: str) -> None:
    """A user's first login asks the server what sessions begin with; one to an unknown schema whether it is there."""
    with holder(impatient) as first:
        with refused(9501):
            impatient.connect(SHA2)
        with refused(9501):
            impatient.connect(database=schema)
        first.commit()
        with impatient.connect(SHA2, database=schema) as session:
            assert one(session, "SELECT DATABASE()") == schema


@on_mariadb
def test_no_waiting_at_all(server: DatabaseServer, folder: Path, schema: str) -> None:
    """With 0 a statement fails at once unless a connection is free, and a login that needs one too."""
    settings = {"connection_borrow_timeout": 0}
    with Proxy(server, folder, max_connections=1, accounts=[NATIVE], target_group=settings) as proxy:
        with proxy.connect(database=None, autocommit=None) as second:
            with proxy.connect(database=None) as first:
                first.begin()
                for _ in range(3):
                    with refused(9501):
                        run(second, "DO 1")
                    with refused(9501):
                        proxy.connect(database=schema)
                first.commit()
                run(second, "DO 1")
            until(lambda: place(proxy, schema), "the connection is free")


def place(proxy: Proxy, schema: str) -> bool:
    """Tell whether a login works now."""
    try:
        proxy.connect(database=schema).close()
    except pymysql.OperationalError as error:
        if error.args[0] != 9501:
            raise
        return False
    return True


def test_a_client_that_leaves_while_it_waits(narrow: Proxy, table: str) -> None:
    """Its statement is never run."""
    with holder(narrow) as first:
        leavers = [queue(narrow, f"INSERT INTO {table} (value) VALUES ({number})") for number in range(3)]
        stayer = queue(narrow, f"INSERT INTO {table} (value) VALUES (99)")
        for leaver in leavers:
            leaver.socket.shutdown(socket.SHUT_WR)
            with pytest.raises(EOFError):
                leaver.packet()  # the proxy has noticed
            leaver.close()
        first.commit()
        with stayer:
            assert error_code(stayer.packet()[1]) == 0
        assert rows(first, f"SELECT value FROM {table}") == [(99,)]


@pytest.mark.parametrize("connections", [1, 2])
def test_users_are_served_in_turn(
    server: DatabaseServer, folder: Path, table: str, connections: int
) -> None:
    """A user with one statement does not wait for all of another's that came before."""
    with Proxy(server, folder, max_connections=connections) as proxy:
        with ExitStack() as stack:
            with proxy.connect(SHA2), holder(proxy) as first:
                others = [stack.enter_context(holder(proxy)) for _ in range(connections - 1)]
                insert = f"INSERT INTO {table} (text) SELECT CURRENT_USER() FROM (SELECT SLEEP(0.01)) AS t"
                waiting = [stack.enter_context(queue(proxy, insert)) for _ in range(12)]
                waiting.append(stack.enter_context(queue(proxy, insert, SHA2)))
                for session in (first, *others):
                    session.commit()
                for client in waiting:
                    assert error_code(client.packet()[1]) == 0
                users = [user for (user,) in rows(first, f"SELECT text FROM {table} ORDER BY id")]
                assert len(users) == 13
                assert f"{SHA2.name}@%" in users[:4]


# -- connections that break --------------------------------------------------------------------------------------------


def kill(server: DatabaseServer, numbers: list[int]) -> None:
    """End connections at the server, and see them gone."""
    server.execute(*(f"KILL {number}" for number in numbers))
    until(lambda: not {process.id for process in server.processlist()} & set(numbers), "the connections end")


@pytest.fixture(params=["DISABLED", "REQUIRED"], ids=["plain", "TLS"])
def own_proxy(request: pytest.FixtureRequest, server: DatabaseServer, folder: Path) -> Iterator[Proxy]:
    """A proxy with up to four connections, and nobody else's."""
    with TargetProxy(server, folder, mode=request.param, accounts=[CROWD[0]]) as proxy:
        yield proxy


@pytest.fixture(autouse=True, scope="module")
def crowd(server: DatabaseServer) -> None:
    """The accounts that are used here alone: nobody else's connections are counted with theirs."""
    for account in CROWD:
        server.create_user(account.name, account.password, grants=["ALL PRIVILEGES ON *.*"])


def test_idle_connections_that_end(own_proxy: Proxy, server: DatabaseServer) -> None:
    """They are replaced; no client sees an error, even if it asks before the proxy has had the time to look."""
    proxy = own_proxy
    with ExitStack() as stack:
        sessions = [stack.enter_context(proxy.connect(CROWD[0])) for _ in range(8)]
        for turn in range(3):
            for session in sessions:
                assert one(session, "SELECT %s", turn) == turn
            for session in sessions[:4]:
                session.begin()
                assert one(session, "SELECT %s", turn) == turn
            old = proxy.backends()
            assert len(old) == 4
            for session in sessions[:4]:
                session.commit()
            if turn == 2:
                kill(server, old)
            else:
                with asleep(proxy):
                    kill(server, old)
                    for number, session in enumerate(sessions):
                        session._execute_command(3, f"SELECT {number}, CONNECTION_ID()")
                for number, session in enumerate(sessions):
                    session._read_query_result()
                    ((value, connection),) = session._result.rows
                    assert value == number
                    assert connection not in old
            for number, session in enumerate(sessions):
                assert one(session, "SELECT %s", number) == number


def test_a_connection_that_ends_in_a_statement(own_proxy: Proxy, server: DatabaseServer, table: str) -> None:
    """The client is told once, in one packet, and goes on in a new session; others notice nothing."""
    proxy = own_proxy
    with Packets(proxy.host, proxy.port, CROWD[0]) as client, proxy.connect(CROWD[0]) as other:
        for begin in (False, True):
            if begin:
                client.query("BEGIN")
                client.query(f"INSERT INTO {table} (value) VALUES (1)")
            client.send(QUERY + b"SELECT SLEEP(20)")
            (process,) = until(
                lambda: [process for process in server.processlist() if "SLEEP" in (process.info or "")],
                "the statement runs",
            )
            assert one(other, "SELECT 1") == 1
            kill(server, [process.id])
            sequence, payload = client.packet()
            assert (sequence, payload[0]) == (1, 0xFF), payload
            assert client.query("SELECT 5")[-2:-1] == [b"\x015"] or client.query("SELECT 5")[-2] == b"\x015"
            print(payload)
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
