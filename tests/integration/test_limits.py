"""What the proxy refuses, and how: too many clients, slow ones, silent ones, and those who break the protocol."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest

from rdsproxy.protocol.framing import frame
from tests.integration.logins import Login
from tests.integration.network import until
from tests.integration.packets import TIMEOUT, Packets, error_code
from tests.integration.proxy import NATIVE, Proxy, one, refused, rows, run
from tests.servers import Certificates, DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

QUERY = b"\x03"
MEGABYTE = 1 << 20

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
"""For what the proxy does by itself."""


def place(proxy: Proxy) -> list[Connection]:
    """Give a connection, or nothing if there are too many."""
    try:
        return [proxy.connect()]
    except pymysql.OperationalError as error:
        if error.args[0] != 1040:
            raise
        return []


@on_mariadb
def test_too_many_clients(server: DatabaseServer, folder: Path) -> None:
    """One too many is told so before its login; a place is free as soon as a client has left."""
    with Proxy(server, folder, proxy={"max_client_connections": 2}) as proxy:
        with proxy.connect() as first, proxy.connect() as second:
            for _ in range(3):
                with refused(1040, "exceeded (2)"):
                    proxy.connect()
            with socket.create_connection((proxy.host, proxy.port), TIMEOUT) as third, third.makefile("rb") as file:
                # No SQL state before the greeting: mysql's command line would show it as a part of the message.
                assert file.read()[3:] == b"\0\xff\x10\x04Number simultaneous connections exceeded (2)"
            assert one(first, "SELECT 1") == one(second, "SELECT 1") == 1
        (again,) = until(lambda: place(proxy), "a place becomes free")
        with again:
            assert one(again, "SELECT 2") == 2


@on_mariadb
def test_those_who_do_not_log_in_give_way(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    """Whoever fills all places with logins that go no further keeps nobody out, and pushes nobody out."""
    with (
        Proxy(server, folder, tls=certificates, proxy={"max_client_connections": 5}) as proxy,
        proxy.connect() as first,
        ExitStack() as silent,
    ):
        logins = [silent.enter_context(Login(proxy.host, proxy.port)) for _ in range(20)]
        for number, login in enumerate(logins[:16]):
            assert error_code(login.receive()) == 1040, number
            assert login.ended()
        logins[16].start_tls(certificates)
        logins[17].respond(NATIVE.name, b"", "dialog")
        logins[18].socket.sendall(b"\x20")
        sessions = [silent.enter_context(proxy.connect(tls=bool(number % 2))) for number in range(4)]
        assert logins[16].ended()
        for login in logins[17:]:
            assert error_code(login.receive()) == 1040
        with refused(1040, "exceeded (5)"):
            proxy.connect()
        for session in (first, *sessions):
            assert one(session, "SELECT 1") == 1


@on_mariadb
def test_tls_is_required(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    with Proxy(server, folder, tls=certificates, proxy={"require_tls": True}) as proxy:
        with refused(3159, "requires TLS"):
            proxy.connect()
        with refused(3159, "requires TLS"):
            proxy.connect(password=b"wrong")
        with proxy.connect(tls=True) as session:
            assert one(session, "SELECT 1") == 1


@on_mariadb
def test_slow_logins(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    """Whoever stops in the middle of a login is sent away, at whichever step."""
    with (
        Proxy(server, folder, tls=certificates, proxy={"handshake_timeout": 0.5}) as proxy,
        proxy.connect() as bystander,
        Login(proxy.host, proxy.port) as silent,
        Login(proxy.host, proxy.port) as half,
        Login(proxy.host, proxy.port) as switched,
        Login(proxy.host, proxy.port) as in_tls,
    ):
        half.socket.sendall(frame(b"\0" * 50, 1)[:30])
        switched.respond(NATIVE.name, b"", "dialog")
        in_tls.start_tls(certificates)
        for login in (silent, half, switched, in_tls):
            assert error_code(login.receive()) == 1159
            assert login.ended()
        assert one(bystander, "SELECT 1") == 1


@on_mariadb
def test_idle_clients(server: DatabaseServer, folder: Path) -> None:
    """A silent client is sent away; one that pings, or waits for a long statement, is not."""
    with (
        Proxy(server, folder, proxy={"idle_client_timeout": 1}) as proxy,
        Packets(proxy.host, proxy.port) as busy,
        Packets(proxy.host, proxy.port) as silent,
        proxy.connect() as pings,
    ):
        busy.send(QUERY + b"SELECT SLEEP(2.5)")
        ended = False
        while not select.select([busy.socket], [], [], 0.1)[0]:
            pings.ping(reconnect=False)
            ended = ended or bool(select.select([silent.socket], [], [], 0)[0])
        assert ended, "not sent away while the long statement ran"
        sequence, payload = silent.packet()
        assert (sequence, error_code(payload)) == (0, 4031)
        with pytest.raises(EOFError):
            silent.packet()
        assert busy.reply()[-2] == b"\x010"
        assert busy.query("SELECT 7")[-2] == b"\x017"
        assert one(pings, "SELECT 1") == 1


# -- broken packets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "empty", "code"),
    [(1, False, 1156), (255, False, 1156), (0, True, 1835)],
    ids=["number 1", "number 255", "empty"],
)
def test_broken_packets(proxy: Proxy, table: str, number: int, empty: bool, code: int) -> None:
    """They end the connection with an error that says why; neither they nor what is behind them is run."""
    with Packets(proxy.host, proxy.port) as client, proxy.connect() as other:
        insert = QUERY + f"INSERT INTO {table} (value) VALUES (1)".encode()
        client.socket.sendall(frame(b"" if empty else insert, number) + frame(insert))
        sequence, payload = client.packet()
        assert (sequence, error_code(payload)) == (1, code)
        with pytest.raises((EOFError, ConnectionResetError)):
            client.packet()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0


@pytest.fixture
def one_megabyte(server: DatabaseServer, folder: Path) -> Iterator[Proxy]:
    """A proxy before a server whose packets have at most a megabyte."""
    with server.admin() as admin:
        before = one(admin, "SELECT @@GLOBAL.max_allowed_packet")
        run(admin, "SET GLOBAL max_allowed_packet = %s", MEGABYTE)
        try:
            with Proxy(server, folder) as proxy:
                yield proxy
        finally:
            run(admin, "SET GLOBAL max_allowed_packet = %s", before)


def test_a_packet_above_the_server_s_limit(one_megabyte: Proxy) -> None:
    """It is refused by its length alone: nothing of it is kept."""
    proxy = one_megabyte
    with Packets(proxy.host, proxy.port) as client, proxy.connect() as other:
        assert one(other, f"SELECT LENGTH('{'x' * (MEGABYTE - 100)}')") == MEGABYTE - 100
        for length in (MEGABYTE + 1, 0xFFFFFF):
            client.socket.sendall(length.to_bytes(3, "little") + b"\0")
            assert error_code(client.packet()[1]) == 1153
            with pytest.raises(EOFError):
                client.packet()
            client.close()
            client = Packets(proxy.host, proxy.port)
        client.close()
        assert one(other, "SELECT 1") == 1


# -- commands ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "sleep": b"\x00",
    "create db": b"\x05app",
    "drop db": b"\x06app",
    "refresh": b"\x07\x01",
    "shutdown": b"\x08",
    "connect": b"\x0b",
    "debug": b"\x0d",
    "time": b"\x0f",
    "delayed insert": b"\x10",
    "binlog dump": b"\x12\x04\0\0\0\0\0\x01\0\0\0",
    "table dump": b"\x13\x03app\x01t",
    "connect out": b"\x14",
    "register replica": b"\x15" + bytes(18),
    "daemon": b"\x1d",
    "binlog dump gtid": b"\x1e" + bytes(20),
    "clone": b"\x20",
    "subscribe group replication": b"\x21",
    "unused": b"\x7f",
    "last": b"\xff",
}


def test_commands_that_are_not_for_clients(proxy: Proxy, table: str) -> None:
    """Each is answered by MySQL's own error, and the session goes on, its transaction too."""
    with Packets(proxy.host, proxy.port) as client, proxy.connect() as other:
        client.query("BEGIN")
        for number, (name, payload) in enumerate(REFUSED.items()):
            client.query(f"INSERT INTO {table} (value) VALUES ({number})")
            client.send(payload)
            sequence, answer = client.packet()
            assert (sequence, error_code(answer), answer[3:9]) == (1, 1047, b"#08S01"), name
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 0
        client.query("COMMIT")
        assert rows(other, f"SELECT COUNT(*), MAX(value) FROM {table}") == [(len(REFUSED), len(REFUSED) - 1)]


def test_pipelined_commands(proxy: Proxy, table: str) -> None:
    """Commands that do not wait for answers are run one by one, and answered in order."""
    with Packets(proxy.host, proxy.port) as client:
        commands = []
        wanted: list[bytes | int] = []
        for number in range(300):
            # Enough of them that the proxy has to stop reading before the first one is done.
            text = f"{number}-" + "x" * 2000
            commands += [QUERY + f"SELECT {'SLEEP(0.2), ' if not number else ''}'{text}'".encode()]
            wanted.append((b"\x010" if not number else b"") + b"\xfc" + len(text).to_bytes(2, "little") + text.encode())
            if number % 5 == 0:
                commands += [b"\x0e", b"\x12", QUERY + b"SELECT nothing", b"\x02app", QUERY + b"DO 1"]
                wanted += [0, 1047, 1054, 0, 0]
        client.socket.sendall(b"".join(frame(command) for command in commands))
        for expected in wanted:
            if isinstance(expected, int):
                sequence, payload = client.packet()
                assert (sequence, error_code(payload)) == (1, expected)
            else:
                assert client.reply()[-2] == expected


def test_commands_behind_quit_are_not_run(proxy: Proxy, table: str) -> None:
    with Packets(proxy.host, proxy.port) as client, proxy.connect() as other:
        insert = frame(QUERY + f"INSERT INTO {table} (value) VALUES (1)".encode())
        client.socket.sendall(insert + frame(b"\x01") + insert)
        assert error_code(client.packet()[1]) == 0
        with pytest.raises((EOFError, ConnectionResetError)):
            client.packet()
        assert one(other, f"SELECT COUNT(*) FROM {table}") == 1
