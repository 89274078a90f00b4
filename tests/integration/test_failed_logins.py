"""Who guesses passwords is refused before they are looked at, and who does nothing else before they are greeted."""

from __future__ import annotations

import socket
from itertools import count
from pathlib import Path

import pytest

from tests.integration.logins import WRONG, Login
from tests.integration.packets import TIMEOUT
from tests.integration.proxy import NATIVE, SHA2, Account, Proxy, one, refused
from tests.servers import Certificates, DatabaseServer

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
NOBODY = Account("nobody", "x", "MYSQL_NATIVE_PASSWORD")


def test_guessing(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    """With the right password too, and for users that do not exist alike; other addresses and users come in."""
    with (
        Proxy(server, folder, tls=certificates, proxy={"max_failed_logins": 3}) as proxy,
        proxy.connect() as before,
    ):
        for account in (NATIVE, NOBODY):
            for _ in range(3):
                with refused(1045):
                    proxy.connect(account, password=b"guess")
            with refused(1040, "Connections rate limit exceeded (3)"):
                proxy.connect(account, password=b"guess")
        with refused(1040, "Connections rate limit exceeded (3)"):
            proxy.connect(NATIVE)
        with proxy.connect(NATIVE, bind_address="127.0.0.2") as elsewhere, proxy.connect(SHA2, tls=True) as other:
            assert one(before, "SELECT 1") == one(elsewhere, "SELECT 1") == one(other, "SELECT 1") == 1


def test_leaving_before_the_end(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    """A client that has been told that its scramble is wrong has failed, unless its password proves right."""
    settings = {"max_failed_logins": 3}
    with Proxy(server, folder, tls=certificates, proxy=settings, accounts=[SHA2]) as proxy:
        for _ in range(4):
            with Login(proxy.host, proxy.port) as login:
                login.start_tls(certificates)
                assert login.respond(SHA2.name, WRONG) == b"\x01\x04"
                assert login.full(SHA2.password, encrypted=False)[:1] == b"\0"
        for _ in range(3):
            with Login(proxy.host, proxy.port) as login:
                assert login.respond(SHA2.name, WRONG) == b"\x01\x04"
        with refused(1040, "Connections rate limit exceeded (3)"):
            proxy.connect(SHA2, tls=True)


_names = count()


def fail(proxy: Proxy, source: str, times: int) -> None:
    """Fail to log in, each time as somebody else."""
    for _ in range(times):
        with refused(1045):
            proxy.connect(Account(f"nobody{next(_names)}", "x", NOBODY.plugin), bind_address=source)


def test_addresses_that_do_nothing_else(server: DatabaseServer, folder: Path) -> None:
    """Ten times as many failures as one user may have block an address, unless one of its clients logs in."""
    settings = {"max_failed_logins": 1}
    admin = {"listen": "tcp:0:interface=127.0.0.1"}
    blocked = "Host '127.0.0.2' is blocked for a minute because of many connection errors"
    with Proxy(server, folder, proxy=settings, admin=admin) as proxy:
        fail(proxy, "127.0.0.2", 9)
        for _ in range(11):
            # Health checks say nothing.
            socket.create_connection((proxy.host, proxy.port), TIMEOUT, ("127.0.0.2", 0)).close()
        with proxy.connect(bind_address="127.0.0.2") as inside:
            fail(proxy, "127.0.0.2", 9)
            with socket.create_connection((proxy.host, proxy.port), TIMEOUT, ("127.0.0.2", 0)) as client:
                client.sendall(bytes(100))
                client.makefile("rb").read()
            for _ in range(2):
                with refused(1129, blocked):
                    proxy.connect(bind_address="127.0.0.2")
            assert one(inside, "SELECT 1") == 1
        # What speaks for many, a tunnel say, may be on this machine.
        fail(proxy, "127.0.0.1", 11)
        for elsewhere in ("127.0.0.1", "127.0.0.3"):
            with proxy.connect(bind_address=elsewhere) as other:
                assert one(other, "SELECT 1") == 1
        assert proxy.metrics()["rdsproxy_client_connections_blocked_total"] == 2
        assert [line["peer"] for line in proxy.log if line["event"] == "address blocked"] == ["127.0.0.2"]
