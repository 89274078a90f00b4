"""Whatever clients and scrapers are told, it names no host, port, path or version that is not the database's own."""

from __future__ import annotations

import importlib
import pkgutil
import re
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pymysql
import pytest
from pymysql.constants import COMMAND

import rdsproxy
import twisted
from rdsproxy.protocol.responses import Err
from tests.failover.network import TcpRelay
from tests.integration.logins import Login
from tests.integration.network import Forwarder, until
from tests.integration.packets import Packets
from tests.integration.proxy import NATIVE, ROOT, SHA2, Account, Proxy, connect, hold, one, run
from tests.integration.targets import behind
from tests.servers import Certificates, DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

GHOST = Account("hiding_ghost", "Planted-Ghost-1", "MYSQL_NATIVE_PASSWORD")
"""Whom the database does not know."""
MOVED = Account("hiding_moved", "Planted-Moved-1", "MYSQL_NATIVE_PASSWORD")
"""Whose password is changed there."""


class Listener:
    """Stands between clients and a proxy, hears all that the proxy says, and notes the errors."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.codes: set[int] = set()
        self._between = Forwarder(proxy.host, proxy.port)

    def __enter__(self) -> Self:
        self._between.__enter__()
        self.host, self.port = self._between.host, self._between.port
        return self

    def __exit__(self, *exc: object) -> None:
        self._between.__exit__(*exc)

    def connect(self, account: Account = NATIVE, **more: Any) -> Connection:
        """Connect to the proxy."""
        return connect(self.host, self.port, account, **more)

    def tried(self, account: Account = NATIVE, **more: Any) -> None:
        """Log in, and note why not."""
        try:
            self.connect(account, **more).close()
        except pymysql.MySQLError as error:
            self.codes.add(error.args[0])

    def asked(self, connection: Connection, sql: str) -> None:
        """Run a statement, and note its error."""
        try:
            run(connection, sql)
        except pymysql.MySQLError as error:
            self.codes.add(error.args[0])

    def answered(self, payload: bytes) -> None:
        """Note the error of a packet."""
        assert payload[0] == 0xFF, payload
        self.codes.add(int.from_bytes(payload[1:3], "little"))

    def said(self) -> bytes:
        """Give all that the proxy has said."""
        return b"".join(map(bytes, self._between.said))


def names(relay: TcpRelay, server: DatabaseServer, folder: Path) -> list[str]:
    """Give what nobody is to be told: where the database is, where the proxy's files are, what it is made of."""
    return [
        relay.host,
        str(relay.port),
        str(server.port),
        str(folder),
        str(ROOT),
        "site-packages",
        "Traceback",
        "Twisted",
        twisted.__version__,
        sys.version.split()[0],
    ]


@pytest.fixture
def relay(server: DatabaseServer) -> Iterator[TcpRelay]:
    """The way to the database, at an address that is nobody else's."""
    with TcpRelay(server.host, server.port, host="127.0.0.3") as relay:
        yield relay


ADMIN = {"listen": "tcp:0:interface=127.0.0.1"}


@on_mariadb
def test_what_clients_and_scrapers_are_told(server: DatabaseServer, relay: TcpRelay, folder: Path) -> None:
    server.create_user(MOVED.name, MOVED.password)
    accounts = [NATIVE, SHA2, GHOST, MOVED]
    group = {"connection_borrow_timeout": 0.5}
    pages = []
    with (
        Proxy(
            behind(relay, server), folder, accounts=accounts, target_group=group, admin=ADMIN, max_connections=2
        ) as proxy,
        Listener(proxy) as listener,
    ):
        pages += [proxy.http(path) for path in ("/health", "/metrics", "/pause", "/none")]
        pages.append(proxy.http("/metrics", "POST"))
        wrong = Account(NATIVE.name, "Planted-Wrong-1", NATIVE.plugin)
        for account in (wrong, Account("nobody", "Planted-Wrong-2", NATIVE.plugin), GHOST):
            listener.tried(account)
        listener.tried(database="no_such_schema")
        with listener.connect() as session, listener.connect() as other:
            with Packets(listener.host, listener.port) as packets:
                for code, body in (
                    (0x55, b""),  # no command at all
                    (COMMAND.COM_STMT_EXECUTE, struct.pack("<IBI", 99, 0, 1)),
                    (COMMAND.COM_STMT_FETCH, struct.pack("<II", 99, 1)),
                    (COMMAND.COM_STMT_EXECUTE, b""),
                    (COMMAND.COM_CHANGE_USER, b""),
                ):
                    with suppress(EOFError):
                        listener.answered(packets.command(code, body))
            with Packets(listener.host, listener.port) as packets:
                packets.send(b"\x03SELECT 1", sequence=7)
                listener.answered(packets.packet()[1])
            for sql in ("KILL 4000000000", "SELECT no_such_column", "KILL nothing"):
                listener.asked(session, sql)
            refused = listener.connect(SHA2)
            listener.asked(refused, f"KILL {other.thread_id()}")
            refused.close()
            # One of the two connections is held, so that a KILL beside the other one needs a third.
            hold(session)
            _kill_where_the_database_denies(listener, server)
            # Both are in use, then lost: with a transaction, and with a pinned session.
            run(other, "CREATE TEMPORARY TABLE app.hiding (id INT)")
            listener.tried()
            relay.refuse()
            relay.reset()
            until(lambda: proxy.http("/health").status == 503, "no target is available")
            pages += [proxy.http("/health"), proxy.http("/metrics")]
            for connection in (session, other):
                listener.asked(connection, "DO 1")
                listener.asked(connection, "DO 1")
            relay.accept()
            until(lambda: proxy.http("/health").status == 200, "it is available again")
            assert one(session, "SELECT 1") == 1
            _lose_in_a_statement(listener, relay, session, server)
            run(other, "DO 1")
        with listener.connect() as last:
            proxy.stop()
            listener.asked(last, "DO 1")
        said = listener.said().decode("latin-1")
    said += "\n".join(f"{page.headers}\n{page.text}" for page in pages)
    for name in names(relay, server, folder):
        assert name not in said, name
    assert "server" not in {header for page in pages for header in page.headers}
    assert "could not be reached to interrupt" in said  # for the KILL that the database denies
    assert listener.codes >= {1045, 1047, 1049, 1094, 1095, 1105, 1156, 1213, 1243, 1835, 2013, 9501}, listener.codes


def _kill_where_the_database_denies(listener: Listener, server: DatabaseServer) -> None:
    with listener.connect(MOVED) as victim, listener.connect(MOVED) as killer:
        number = victim.thread_id()
        thread = threading.Thread(target=listener.asked, args=(victim, "SELECT SLEEP(60)"))
        thread.start()
        until(lambda: any(line.sleeps for line in server.processlist(MOVED.name)), "it sleeps")
        server.execute(f"ALTER USER '{MOVED.name}'@'%' IDENTIFIED BY 'Planted-Moved-2'")
        listener.asked(killer, f"KILL QUERY {number}")
        (line,) = (line for line in server.processlist(MOVED.name) if line.sleeps)
        server.execute(f"KILL QUERY {line.id}")
        thread.join()


def _lose_in_a_statement(listener: Listener, relay: TcpRelay, session: Connection, server: DatabaseServer) -> None:
    thread = threading.Thread(target=listener.asked, args=(session, "DO SLEEP(60)"))
    thread.start()
    until(lambda: any(line.sleeps for line in server.processlist(NATIVE.name)), "it sleeps")
    relay.reset()
    thread.join()


@on_mariadb
def test_at_the_door(
    server: DatabaseServer, relay: TcpRelay, certificates: Certificates, folder: Path
) -> None:
    settings = {
        "require_tls": True,
        "max_client_connections": 2,
        "max_failed_logins": 1,
        "handshake_timeout": 1,
        "idle_client_timeout": 1,
    }
    with (
        Proxy(behind(relay, server), folder, tls=certificates, proxy=settings) as proxy,
        Listener(proxy) as listener,
    ):
        listener.tried()  # without TLS
        for _ in range(2):
            listener.tried(Account(NATIVE.name, "Planted-Wrong-3", NATIVE.plugin), tls=certificates)
        with Login(listener.host, listener.port) as early, Login(listener.host, listener.port) as slow:
            listener.tried()
            listener.answered(early.receive())  # it gives way
            listener.answered(slow.receive())  # in the end
        with Login(listener.host, listener.port) as large:
            large.socket.sendall(b"\xff\xff\xff\x01" + bytes(1 << 17))
            with suppress(EOFError, AssertionError):
                listener.answered(large.receive())
        said = listener.said().decode("latin-1")
    for name in names(relay, server, folder):
        assert name not in said, name
    assert listener.codes >= {1040, 1045, 1159, 3159}, listener.codes


def test_errors_that_are_always_the_same() -> None:
    """Those that no test provokes, too."""
    found: dict[str, Err] = {}
    for module in pkgutil.walk_packages(rdsproxy.__path__, "rdsproxy."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Err):
                    found[f"{module.name}.{name}"] = value
    assert len({err.message for err in found.values()}) > 15
    for name, err in found.items():
        assert not re.search(r"/|\\|\.py|\d{2}|:\d|\bhost\b|\bport\b|[Pp]ython|Twisted", err.message), name
