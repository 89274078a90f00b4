"""Who guesses passwords is refused before they are looked at, and nobody else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.logins import WRONG, Login
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
