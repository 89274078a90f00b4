"""KILL and connection ids: a client knows itself and others by the proxy's ids, and may end what they do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mysql.connector
import pymysql
import pytest

from tests.integration.network import until
from tests.integration.packets import DEPRECATE_EOF, SESSION_TRACK, Packets, error_code
from tests.integration.proxy import SHA2, Proxy, backend, in_transaction, one, refused, rows, run, vanish
from tests.servers import DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

LONG = 30  # seconds; longer than any test waits
INTERRUPTED = 1317
KILLED = 1927

PROCESS_KILL = 0x0C
QUERY = b"\x03"


def number(session: Connection) -> int:
    """Give the id that the client was greeted with."""
    given: int = session.thread_id()
    return given


def root(server: DatabaseServer) -> Connection:
    """Connect to the server itself, as one who may do anything."""
    return pymysql.connect(unix_socket=str(server.socket), user="root")


def sleeping(server: DatabaseServer) -> list[int]:
    """Give the server's ids of the connections that sleep in a statement."""
    return [process.id for process in server.processlist() if process.sleeps]


@contextmanager
def under_way(server: DatabaseServer, session: Connection, sql: str) -> Iterator[Future[Any]]:
    """Run a statement that sleeps in a thread; the block begins once the server is at it."""
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(rows, session, sql)
        until(lambda: sleeping(server), "the statement runs")
        yield running
        running.exception()
    until(lambda: not sleeping(server), "the statement has ended")


def assert_interrupted(running: Future[Any]) -> None:
    """Wait for the end of a SELECT SLEEP(): it ends by an error, or on MySQL by a 1."""
    error = running.exception()
    if error is None:
        assert running.result() == [(1,)]
    else:
        assert isinstance(error, pymysql.MySQLError)
        assert error.args[0] == INTERRUPTED, error


# -- the client's own id -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["CONNECTION_ID()", "connection_id ( )", "@@pseudo_thread_id", "1 + CONNECTION_ID()"])
@pytest.mark.parametrize("flags", [0, SESSION_TRACK | DEPRECATE_EOF])
def test_own_id(proxy: Proxy, server: DatabaseServer, asked: str, flags: int) -> None:
    """What a client is told of itself is the id of its greeting, in the form that the server would have given it."""
    with Packets(proxy.host, proxy.port, flags=flags) as client, Packets(server.host, server.port) as direct:
        given = client.query(f"SELECT {asked}")
        right = direct.query(f"SELECT {asked}")
        own = client.connection.thread_id() + asked.startswith("1")
        assert given[-2] == bytes((len(str(own)),)) + str(own).encode()
        if not asked.startswith("1"):
            assert given[1] == right[1]


def test_own_id_in_statements(proxy: Proxy, table: str) -> None:
    with proxy.connect() as session, proxy.connect() as other:
        run(session, f"INSERT INTO {table} (value, text) VALUES (CONNECTION_ID() - 2147483648, 'CONNECTION_ID()')")
        assert rows(other, f"SELECT value + 2147483648, text FROM {table}") == [(number(session), "CONNECTION_ID()")]
        assert one(session, "SELECT 'x' WHERE CONNECTION_ID() = %s AND @@pseudo_thread_id = %s", *[number(session)] * 2)
        assert number(session) != number(other) != backend(other)
        with session.cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID() FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()")
            assert cursor.rowcount == 1


def test_own_id_in_prepared_statements(proxy: Proxy) -> None:
    """Each client has its own id, also in statements of the same text."""
    for _ in range(2):
        with mysql.connector.connect(
            host=proxy.host, port=proxy.port, user=SHA2.name, password=SHA2.password, ssl_disabled=True, use_pure=True
        ) as session:
            cursor = session.cursor(prepared=True)
            for number_of_execution in (1, 2):
                cursor.execute("SELECT CONNECTION_ID(), ?", (number_of_execution,))
                assert cursor.fetchall() == [(session.connection_id, number_of_execution)]
                assert cursor.description is not None
                assert cursor.description[0][0] == "CONNECTION_ID()"


# -- KILL QUERY --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["KILL QUERY {}", "/* tool */ kill query {};"])
def test_a_running_statement(narrow: Proxy, server: DatabaseServer, form: str) -> None:
    """It ends as on the server itself, though no connection is free for the KILL; the session goes on."""
    sql = f"SELECT SLEEP({LONG}) FROM (SELECT 1 UNION SELECT 2) AS two"
    with narrow.connect() as victim, narrow.connect() as killer:
        before = backend(victim)
        with under_way(server, victim, sql) as running:
            assert run(killer, form.format(number(victim))) == 0
            outcome = running.exception() or running.result()
        with (
            root(server) as direct,
            root(server) as other,
            under_way(server, direct, sql) as running,
        ):
            run(other, f"KILL QUERY {direct.thread_id()}")
            right = running.exception() or running.result()
        assert str(outcome) == str(right)
        assert one(victim, "SELECT 1") == one(killer, "SELECT 1") == 1
        assert backend(killer) == before


def test_a_running_statement_in_a_transaction(narrow: Proxy, server: DatabaseServer, table: str) -> None:
    """The transaction stays open."""
    with narrow.connect() as victim, narrow.connect() as killer:
        run(victim, "BEGIN")
        run(victim, f"INSERT INTO {table} (value) VALUES (1)")
        with under_way(server, victim, f"SELECT SLEEP({LONG})") as running:
            run(killer, f"KILL QUERY {number(victim)}")
            assert_interrupted(running)
        run(victim, f"INSERT INTO {table} (value) VALUES (2)")
        assert in_transaction(victim)
        run(victim, "COMMIT")
        assert rows(killer, f"SELECT value FROM {table} ORDER BY value") == [(1,), (2,)]


@pytest.mark.parametrize("slowly", [False, True], ids=["plain", "with a user variable"])
def test_a_statement_that_waits_for_a_connection(narrow: Proxy, slowly: bool) -> None:
    with narrow.connect() as holder, narrow.connect() as killer, narrow.connect() as victim:
        run(holder, "BEGIN")
        with ThreadPoolExecutor(1) as executor:
            waiting = executor.submit(one, victim, "SELECT @nothing" if slowly else "SELECT 5")
            while not waiting.done():
                # Without effect until the statement has arrived.
                run(killer, f"KILL QUERY {number(victim)}")
            with refused(INTERRUPTED, "Query execution was interrupted"):
                waiting.result()
        run(holder, "COMMIT")
        assert one(victim, "SELECT 6") == 6


def test_an_idle_client_is_not_hurt(proxy: Proxy) -> None:
    with proxy.connect() as victim, proxy.connect() as killer:
        run(victim, "BEGIN")
        run(killer, f"KILL QUERY {number(victim)}")
        assert one(victim, "SELECT 7") == 7
        assert in_transaction(victim)
        run(killer, f"KILL QUERY {number(victim)}")
        run(victim, "COMMIT")


def test_the_killer_in_a_transaction(proxy: Proxy, server: DatabaseServer) -> None:
    with proxy.connect() as victim, proxy.connect() as killer:
        run(killer, "BEGIN")
        with under_way(server, victim, f"SELECT SLEEP({LONG})") as running:
            run(killer, f"KILL QUERY {number(victim)}")
            assert in_transaction(killer)
            assert_interrupted(running)
        run(killer, "COMMIT")


# -- KILL CONNECTION ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["KILL {}", "KILL CONNECTION {}"])
def test_a_client_in_mid_statement(narrow: Proxy, server: DatabaseServer, form: str) -> None:
    """The client's connection ends without a word, and the server stops."""
    with narrow.connect() as victim, narrow.connect() as killer:
        with under_way(server, victim, f"SELECT SLEEP({LONG})") as running:
            run(killer, form.format(number(victim)))
            with refused(2013):
                running.result()
        assert one(killer, "SELECT 1") == 1
        with refused(1094):
            run(killer, form.format(number(victim)))


def test_a_client_that_holds_a_connection(narrow: Proxy, table: str) -> None:
    """Its transaction is rolled back, and the connection serves others."""
    with narrow.connect() as victim, narrow.connect() as killer:
        run(victim, "BEGIN")
        run(victim, f"INSERT INTO {table} (value) VALUES (1)")
        number_of_backend = backend(victim)
        run(killer, f"KILL {number(victim)}")
        assert rows(killer, f"SELECT * FROM {table}") == []
        assert backend(killer) == number_of_backend
        with refused(2013):
            run(victim, "SELECT 1")


def test_clients_that_hold_nothing(narrow: Proxy) -> None:
    """An idle one, and one that waits for a connection."""
    with narrow.connect() as holder, narrow.connect() as killer, narrow.connect() as idle, narrow.connect() as victim:
        run(holder, "BEGIN")
        run(killer, f"KILL {number(idle)}")
        with refused(2013):
            run(idle, "SELECT 1")
        with ThreadPoolExecutor(1) as executor:
            waiting = executor.submit(one, victim, "SELECT 5")
            run(killer, f"KILL {number(victim)}")
            with refused(2013):
                waiting.result()
        run(holder, "COMMIT")
        assert one(killer, "SELECT 6") == 6


# -- who may kill whom -------------------------------------------------------------------------------------------------


def test_errors(proxy: Proxy, server: DatabaseServer) -> None:
    """Those of the server, in its words."""
    with (
        proxy.connect() as session,
        proxy.connect(SHA2) as other,
        root(server) as admin,
    ):
        with pytest.raises(pymysql.MySQLError) as right:
            run(admin, "KILL 4000000000")
        nobody = next(id_ for id_ in range(4000000000, 4000000010) if id_ not in (number(session), number(other)))
        for kind in ("QUERY", "CONNECTION", ""):
            with refused(1094) as _:
                run(session, f"KILL {kind} {nobody}")
            with refused(1095, f"You are not owner of thread {number(other)}"):
                run(session, f"KILL {kind} {number(other)}")
        with pytest.raises(pymysql.MySQLError) as given:
            run(session, f"KILL {nobody}")
        assert str(given.value) == str(right.value).replace("4000000000", str(nobody))
        assert one(other, "SELECT 1") == one(session, "SELECT 1") == 1


def test_oneself(proxy: Proxy, server: DatabaseServer) -> None:
    """As on the server: its error, and with KILL CONNECTION the end."""
    own_end = KILLED if server.kind == "mariadb" else INTERRUPTED
    with proxy.connect() as session:
        for own in ("CONNECTION_ID()", str(number(session))):
            with refused(INTERRUPTED):
                run(session, f"KILL QUERY {own}")
            assert one(session, "SELECT 1") == 1
    for form in ("KILL CONNECTION_ID()", "KILL CONNECTION {}"):
        with Packets(proxy.host, proxy.port) as client:
            (payload,) = client.query(form.format(client.connection.thread_id()))
            assert error_code(payload) == own_end
            with pytest.raises(EOFError):
                client.packet()


def test_ids_of_the_server(proxy: Proxy, server: DatabaseServer) -> None:
    """What SHOW PROCESSLIST gives can be killed too, if the server allows it."""
    with proxy.connect() as session, root(server) as outsider:
        with under_way(server, outsider, f"SELECT SLEEP({LONG})"):
            run(session, f"KILL QUERY {outsider.thread_id()}")
        run(session, f"KILL {outsider.thread_id()}")
        with pytest.raises(pymysql.OperationalError):
            run(outsider, "SELECT 1")
        with refused(1094):
            run(session, "KILL 1 + 99999999")


def test_the_command_of_the_protocol(proxy: Proxy, server: DatabaseServer) -> None:
    """COM_PROCESS_KILL, also before a server that has it no more."""
    with Packets(proxy.host, proxy.port) as client, proxy.connect() as victim:
        with under_way(server, victim, f"SELECT SLEEP({LONG})") as running:
            assert client.command(PROCESS_KILL, number(victim).to_bytes(4, "little"))[0] == 0x00
            with refused(2013):
                running.result()
        assert error_code(client.command(PROCESS_KILL, number(victim).to_bytes(4, "little"))) == 1094
        unknown = client.command(PROCESS_KILL, (99999999).to_bytes(4, "little"))
        assert error_code(unknown) == (1094 if server.kind == "mariadb" else 1047)


# -- clients that vanish -----------------------------------------------------------------------------------------------


def test_a_client_that_vanishes_in_mid_statement(narrow: Proxy, server: DatabaseServer, table: str) -> None:
    """The server is told to stop, and the place in the pool is free once it has."""
    with narrow.connect() as other:
        client = Packets(narrow.host, narrow.port)
        client.send(QUERY + f"INSERT INTO {table} (value) SELECT SLEEP({LONG}) UNION SELECT 8".encode())
        until(lambda: sleeping(server), "the statement runs")
        client.close()
        assert rows(other, f"SELECT * FROM {table}") == []
        assert not sleeping(server)


def test_a_client_that_says_goodbye_without_waiting(narrow: Proxy, server: DatabaseServer, table: str) -> None:
    """Its last statement is run, as a server does that reads one command after the other."""
    with narrow.connect() as other:
        client = narrow.connect()
        internals: Any = client
        internals._sock.sendall(
            b"".join(
                len(command).to_bytes(3, "little") + b"\0" + command
                for command in (QUERY + f"INSERT INTO {table} (value) SELECT 9 + SLEEP(0.5)".encode(), b"\x01")
            )
        )
        until(lambda: sleeping(server), "the statement runs")
        vanish(client)
        until(lambda: rows(other, f"SELECT value FROM {table}") == [(9,)], "the statement was run")
