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
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from rdsproxy.protocol.framing import frame
from tests.integration.network import Forwarder, is_kept_alive, until, wait_until_read, wait_until_stuck
from tests.integration.packets import Packets, error_code
from tests.integration.proxy import BACKEND_ID, NATIVE, SHA2, Account, Proxy, one, refused, rows, run
from tests.integration.targets import TargetProxy, behind
from tests.servers import DatabaseServer, MariaDB

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""

QUERY = b"\x03"
LOST = 2013
ROLLED_BACK = 1213
LOCAL_FILES = 128


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
    number: int = one(connection, f"SELECT {BACKEND_ID}")
    return number


# -- many clients ------------------------------------------------------------------------------------------------------

CLIENTS, CONNECTIONS = 500, 20
CROWD = [Account(f"crowd_{number}", f"Crowd-{number}", "MYSQL_NATIVE_PASSWORD") for number in ("one", "two")]


def work(connection: Connection, table: str, number: int) -> None:
    """Ask for what only this client can have: its own values, its own time zone, its own transactions."""
    zone = f"+0{number % 10}:00"
    run(connection, "SET time_zone = %s", zone)
    assert one(connection, "SELECT %s", number) == number
    run(connection, f"INSERT INTO {table} (value, text) VALUES (%s, 'first')", number)
    connection.begin()
    run(connection, f"INSERT INTO {table} (value, text) VALUES (%s, 'second')", number)
    mine = rows(connection, f"SELECT text FROM {table} WHERE value = %s ORDER BY id", number)
    assert mine == [("first",), ("second",)]
    connection.commit()
    connection.begin()
    run(connection, f"DELETE FROM {table} WHERE value = %s", number)
    connection.rollback()
    assert one(connection, "SELECT @@time_zone") == zone


def test_silent_peers_are_asked_whether_they_are_there(proxy: Proxy, server: DatabaseServer) -> None:
    """Or nobody would notice a host that lost its power, or a firewall that forgot the connection."""
    with proxy.connect() as session:
        internals: Any = session
        ours, proxys = internals._sock.getsockname(), internals._sock.getpeername()
        where = "SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = "
        host, _, port = str(one(session, where + BACKEND_ID)).partition(":")
        until(lambda: is_kept_alive(ours, proxys), "the client is looked after")
        until(lambda: is_kept_alive((server.host, server.port), (host, int(port))), "the database is looked after")


@pytest.mark.parametrize(
    ("database", "users"), [("mariadb", 1), ("mysql", 2)], indirect=["database"], ids=["mariadb-1", "mysql-2"]
)
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
        Proxy(
            server,
            folder,
            max_connections=CONNECTIONS,
            accounts=accounts,
            target_group={"connection_borrow_timeout": 60},
        ) as proxy,
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
        assert rows(admin, f"SELECT COUNT(*) FROM app.{table}") == [(CLIENTS * 2,)]


@on_mariadb
def test_a_crowd_at_the_door(wide_proxy: Proxy) -> None:
    """Clients that come all at once, while the proxy has other things to do, are all let in."""
    with ExitStack() as stack:
        with asleep(wide_proxy):
            where = (wide_proxy.host, wide_proxy.port)
            doors = [stack.enter_context(socket.create_connection(where, 10)) for _ in range(300)]
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


@on_mariadb
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
def test_logins_that_wait_for_a_connection(server: DatabaseServer, folder: Path, schema: str) -> None:
    """They are not cut short by handshake_timeout: the client has done its part."""
    settings = {"handshake_timeout": 0.5}
    with (
        Proxy(server, folder, max_connections=1, proxy=settings) as proxy,
        holder(proxy) as first,
        ThreadPoolExecutor(2) as threads,
    ):
        waiting = [threads.submit(proxy.connect, SHA2), threads.submit(proxy.connect, database=schema)]
        # One who has not done it is sent away in the meantime.
        with socket.create_connection((proxy.host, proxy.port), 20) as third, third.makefile("rb") as file:
            assert b"the login took too long" in file.read()
        first.commit()
        for session in waiting:
            session.result().close()


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
    with (
        Proxy(server, folder, max_connections=1, accounts=[NATIVE], target_group=settings) as proxy,
        proxy.connect(database=None) as second,
    ):
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


@on_mariadb
@pytest.mark.parametrize("connections", [1, 2])
def test_users_are_served_in_turn(server: DatabaseServer, folder: Path, table: str, connections: int) -> None:
    """A user with one statement does not wait for all of another's that came before."""
    with (
        Proxy(server, folder, max_connections=connections) as proxy,
        proxy.connect(SHA2),
        holder(proxy) as first,
        ExitStack() as stack,
    ):
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
        sessions = [stack.enter_context(Packets(proxy.host, proxy.port, CROWD[0])) for _ in range(8)]
        for _ in range(3):
            for turn in range(6):
                for session in sessions:
                    assert session.query(f"SELECT {turn}")[-2] == b"\x01%d" % turn
            for session in sessions[:4]:
                session.query("BEGIN")
            old = proxy.backends()
            assert len(old) == 4
            for session in sessions[:4]:
                session.query("COMMIT")
            with asleep(proxy):
                kill(server, old)
                for number, session in enumerate(sessions):
                    session.send(QUERY + b"SELECT %d" % number)
            for number, session in enumerate(sessions):
                assert session.reply()[-2] == b"\x01%d" % number
            assert not set(proxy.backends()) & set(old)


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
                lambda: [process for process in server.processlist() if process.sleeps],
                "the statement runs",
            )
            assert one(other, "SELECT 1") == 1
            kill(server, [process.id])
            sequence, payload = client.packet()
            told = (1, ROLLED_BACK, b"#40001") if begin else (1, LOST, b"#08S01")
            assert (sequence, error_code(payload), payload[3:9]) == told, payload
            assert client.query("SELECT 5")[-2] == b"\x015"
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


ANGRY = frame(b"\xff\x87\x07#08S01Connection was killed", 0)


@on_mariadb
def test_more_than_a_reply(server: DatabaseServer, folder: Path) -> None:
    """A server may say goodbye right behind a reply: the client has its reply and goes on, on another connection."""
    told = False

    def insert(data: bytes) -> bytes:
        nonlocal told
        if b"marker" in data and not told:
            told = True
            return data + ANGRY
        return data

    with (
        Forwarder(server.host, server.port, insert) as between,
        TargetProxy(behind(between, server), folder, mode="DISABLED", accounts=CROWD) as proxy,
        proxy.connect(CROWD[0]) as session,
        proxy.connect(CROWD[0]) as other,
    ):
        assert one(session, "SELECT 'marker'") == "marker"
        assert told
        assert one(session, "SELECT 1") == 1
        assert one(other, "SELECT 'marker'") == "marker"


@pytest.fixture
def mortal(server: DatabaseServer, folder: Path) -> Iterator[tuple[DatabaseServer, Proxy]]:
    """A server of one's own, and a proxy before it."""
    with type(server)() as own:
        for account in CROWD:
            own.create_user(account.name, account.password)
        with TargetProxy(own, folder, mode="DISABLED", accounts=CROWD) as proxy:
            yield own, proxy


@on_mariadb
def test_a_server_that_dies_in_a_large_statement(mortal: tuple[DatabaseServer, Proxy]) -> None:
    """The proxy has the statement and cannot get rid of it: the client is told, and served when the server is back."""
    server, proxy = mortal
    with Packets(proxy.host, proxy.port, CROWD[0]) as client:
        client.query("SELECT 1")
        server.pause()
        size = 16_000_000
        client.send(QUERY + b"DO '" + b"x" * size + b"'")
        wait_until_read(client.socket)
        server.kill()
        sequence, payload = client.packet()
        assert (sequence, error_code(payload)) == (1, LOST)
        server.start()
        assert client.query("SELECT 5")[-2] == b"\x015"


@on_mariadb
def test_a_server_that_dies_in_an_upload(mortal: tuple[DatabaseServer, Proxy]) -> None:
    """The client goes on sending its file, which goes nowhere, and is told when it has ended."""
    server, proxy = mortal
    server.execute("CREATE TABLE app.t (a INT, b INT, c INT)")
    with Packets(proxy.host, proxy.port, CROWD[0], flags=LOCAL_FILES) as client, ThreadPoolExecutor(1) as thread:
        client.send(QUERY + b"LOAD DATA LOCAL INFILE 'x' INTO TABLE t FIELDS TERMINATED BY ','")
        sequence, payload = client.packet()
        assert (sequence, payload) == (1, b"\xfbx")
        server.pause()

        def send_file() -> None:
            for number in range(2, 102):
                client.send(b"1,2,3\n" * 100_000, number)
            client.send(b"", 102)

        sending = thread.submit(send_file)
        wait_until_stuck(client.socket)
        server.kill()
        sending.result()
        sequence, payload = client.packet()
        assert (sequence, error_code(payload)) == (103, LOST)
        server.start()
        assert client.query("SELECT 5")[-2] == b"\x015"


def test_a_restart(mortal: tuple[DatabaseServer, Proxy]) -> None:
    """Idle sessions go on with their own settings as if nothing had been; those in a transaction are told of it."""
    server, proxy = mortal
    server.execute("CREATE TABLE app.t (value INT)")
    with ExitStack() as stack:
        idle = [stack.enter_context(proxy.connect(CROWD[number % 2])) for number in range(6)]
        for number, session in enumerate(idle):
            run(session, "SET time_zone = %s", f"+0{number}:00")
        held = stack.enter_context(proxy.connect(CROWD[0]))
        held.begin()
        run(held, "INSERT INTO t VALUES (1)")
        server.stop()
        waiting = queue(proxy, "INSERT INTO t VALUES (2)", CROWD[1])
        newcomer = stack.enter_context(ThreadPoolExecutor(1)).submit(proxy.connect, CROWD[1])
        server.start()
        with waiting:
            assert error_code(waiting.packet()[1]) == 0
        with newcomer.result() as session:
            assert one(session, "SELECT 1") == 1
        for number, session in enumerate(idle):
            assert one(session, "SELECT @@time_zone") == f"+0{number}:00"
        with refused(ROLLED_BACK, "rolled back"):
            run(held, "INSERT INTO t VALUES (3)")
        assert rows(held, "SELECT value FROM t") == [(2,)]


@on_mariadb
def test_a_server_that_is_down_at_first(folder: Path) -> None:
    """Clients wait for their greeting, and work as soon as the server does."""
    account = CROWD[0]
    with MariaDB() as server:
        server.create_user(account.name, account.password)
        server.stop()
        with Proxy(server, folder, accounts=[account]) as proxy, ThreadPoolExecutor(3) as threads:
            waiting = [threads.submit(proxy.connect, account) for _ in range(3)]
            proxy.wait_for_log(lambda line: line.get("state") == "UNAVAILABLE")
            server.start()
            for session in waiting:
                with session.result() as connection:
                    assert one(connection, "SELECT 1") == 1
