"""How the proxy gets along with its database: TLS, accounts, limits, wrong secrets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.network import Forwarder
from tests.integration.packets import Packets
from tests.integration.proxy import BACKEND_ID, Account, Proxy, connect, one, refused, rows, run
from tests.integration.targets import TargetProxy, behind
from tests.servers import DatabaseServer, MariaDB, make_certificates

if TYPE_CHECKING:
    from tests.integration.proxy import Connection, LogLine

ONE = Account("target_one", "Target-1", "MYSQL_NATIVE_PASSWORD")
TWO = Account("target_two", "Target-2", "MYSQL_NATIVE_PASSWORD")

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_mysql = pytest.mark.parametrize("database", ["mysql"], indirect=True)


@pytest.fixture(autouse=True, scope="module")
def accounts(server: DatabaseServer) -> None:
    """The accounts that are used here alone: nobody else's connections are counted with theirs."""
    for account in (ONE, TWO):
        server.create_user(account.name, account.password, grants=["ALL PRIVILEGES ON *.*"])


def failure(line: LogLine) -> bool:
    return line.get("event") == "database connection failed" or line.get("state") == "UNAVAILABLE"


# -- TLS ---------------------------------------------------------------------------------------------------------------


def cipher(connection: Connection) -> str:
    """Give the cipher of the connection between proxy and database; empty without TLS."""
    ((_, value),) = rows(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    return str(value)


@on_mariadb
@pytest.mark.parametrize("mode", ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])
def test_tls(server: DatabaseServer, folder: Path, mode: str) -> None:
    ca = server.ca_path if mode.startswith("VERIFY") else None
    with TargetProxy(server, folder, mode=mode, ca=ca, accounts=[ONE]) as proxy, proxy.connect(ONE) as session:
        assert bool(cipher(session)) == (mode != "DISABLED")
        assert one(session, "SELECT REPEAT('x', 1000000)") == "x" * 1_000_000


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[MariaDB]:
    """A server whose certificate is for another host."""
    with MariaDB(tls_names=["db.example"]) as server:
        server.create_user(ONE.name, ONE.password)
        yield server


@pytest.fixture(scope="module")
def without_tls() -> Iterator[MariaDB]:
    """A server that offers no TLS."""
    with MariaDB(options={"skip-ssl": None}) as server:
        server.create_user(ONE.name, ONE.password)
        yield server


def is_refused(proxy: Proxy, reason: str) -> None:
    """See that no client gets anywhere, and that the log says why."""
    with refused(9501):
        proxy.connect(ONE)
    line = proxy.wait_for_log(failure)
    assert line["level"] == "warning"
    assert reason in (line.get("detail") or line["reason"])


IMPATIENT = {"handshake_timeout": 1}


@on_mariadb
def test_a_certificate_of_somebody_else(server: DatabaseServer, folder: Path) -> None:
    """Signed by another authority than the one that is trusted, whatever it says."""
    other = make_certificates(folder / "other")
    with TargetProxy(server, folder, mode="VERIFY_CA", ca=other.ca, accounts=[ONE], proxy=IMPATIENT) as proxy:
        is_refused(proxy, "certificate is refused: its ")


@on_mariadb
def test_a_certificate_for_another_host(elsewhere: MariaDB, folder: Path) -> None:
    """VERIFY_IDENTITY refuses it; VERIFY_CA does not ask."""
    ca = elsewhere.ca_path
    with TargetProxy(elsewhere, folder, mode="VERIFY_IDENTITY", ca=ca, accounts=[ONE], proxy=IMPATIENT) as proxy:
        is_refused(proxy, "it is not for 127.0.0.1")
    with (
        TargetProxy(elsewhere, folder, mode="VERIFY_CA", ca=ca, accounts=[ONE]) as proxy,
        proxy.connect(ONE) as session,
    ):
        assert cipher(session)


@on_mariadb
def test_a_server_without_tls(without_tls: MariaDB, folder: Path) -> None:
    """REQUIRED refuses it, and more so what is more than that; PREFERRED does not."""
    for mode in ("REQUIRED", "VERIFY_IDENTITY"):
        ca = without_tls.ca_path if mode != "REQUIRED" else None
        with TargetProxy(without_tls, folder, mode=mode, ca=ca, accounts=[ONE], proxy=IMPATIENT) as proxy:
            is_refused(proxy, "does not offer TLS")
    with TargetProxy(without_tls, folder, mode="PREFERRED", accounts=[ONE]) as proxy, proxy.connect(ONE) as session:
        assert not cipher(session)


# -- accounts ----------------------------------------------------------------------------------------------------------


@on_mariadb
@pytest.mark.parametrize("mode", ["DISABLED", "REQUIRED"])
@pytest.mark.parametrize("plugin", ["mysql_native_password", "ed25519"])
def test_accounts_of_mariadb(server: DatabaseServer, folder: Path, plugin: str, mode: str) -> None:
    account = Account("target_plugin", "Pässword-3", "MYSQL_CACHING_SHA2_PASSWORD")
    server.create_user(account.name, account.password, plugin)
    with TargetProxy(server, folder, mode=mode, accounts=[account]) as proxy, proxy.connect(account) as session:
        assert one(session, "SELECT CURRENT_USER()") == f"{account.name}@%"


@on_mysql
@pytest.mark.parametrize("mode", ["DISABLED", "REQUIRED"])
def test_accounts_of_mysql(server: DatabaseServer, folder: Path, mode: str) -> None:
    """The first login after the server has forgotten goes all the way, later ones the fast one."""
    account = Account("target_plugin", "Pässword-3", "MYSQL_CACHING_SHA2_PASSWORD")
    server.create_user(account.name, account.password, "caching_sha2_password")
    server.execute("FLUSH PRIVILEGES")
    with (
        Forwarder(server.host, server.port) as between,
        TargetProxy(behind(between, server), folder, mode=mode, accounts=[account]) as proxy,
        proxy.connect(account) as first,
        proxy.connect(account) as second,
    ):
        first.begin()
        assert one(first, "SELECT CURRENT_USER()") == one(second, "SELECT CURRENT_USER()") == f"{account.name}@%"
        # The first connection is the monitor's.
        _, one_said, other_said = map(bytes, between.said)
        if mode == "DISABLED":
            assert b"\x01\x04" in one_said[:200]
            assert b"-----BEGIN PUBLIC KEY-----" in one_said
            assert b"\x01\x03" in other_said[:200]
            assert b"-----BEGIN PUBLIC KEY-----" not in other_said


@pytest.mark.parametrize("wrong_first", [False, True])
def test_a_wrong_secret(server: DatabaseServer, folder: Path, wrong_first: bool) -> None:
    """It is its own user's trouble alone, and over when the database has the same password."""
    server.create_user("target_wrong", "what the database has")
    wrong = Account("target_wrong", "What-The-Proxy-Has", "MYSQL_NATIVE_PASSWORD")
    with Proxy(server, folder, accounts=[wrong, ONE] if wrong_first else [ONE, wrong]) as proxy:
        with proxy.connect(ONE) as session:
            for _ in range(3):
                with refused(1045, "the proxy's secret"):
                    proxy.connect(wrong)
                assert one(session, "SELECT 1") == 1
            with refused(1045, "Access denied for user"):
                proxy.connect(wrong, password=b"what the database has")
            server.create_user(wrong.name, wrong.password)
            with proxy.connect(wrong) as mended:
                assert one(mended, "SELECT CURRENT_USER()") == "target_wrong@%"
            # What the database has from now on does not matter to connections that are open.
            server.execute(f"ALTER USER '{wrong.name}'@'%' IDENTIFIED BY 'another'")
            with proxy.connect(wrong) as mended:
                assert one(mended, "SELECT CURRENT_USER()") == "target_wrong@%"
        assert not any("What-The" in str(line) for line in proxy.log)


# -- limits ------------------------------------------------------------------------------------------------------------


@on_mariadb
def test_a_share_of_the_server_s_connections(server: DatabaseServer, folder: Path) -> None:
    with server.admin() as admin:
        before = one(admin, "SELECT @@GLOBAL.max_connections")
        run(admin, "SET GLOBAL max_connections = 60")
        try:
            settings = {"max_connections_percent": 10, "max_connections": 50, "connection_borrow_timeout": 1}
            with Proxy(server, folder, accounts=[ONE], target_group=settings) as proxy, ExitStack() as stack:
                sessions = [stack.enter_context(proxy.connect(ONE)) for _ in range(8)]
                for session in sessions[:6]:
                    session.begin()
                    one(session, "SELECT 1")
                for session in sessions[6:]:
                    with refused(9501):
                        one(session, "SELECT 1")
                assert len(proxy.backends()) == 6
        finally:
            run(admin, "SET GLOBAL max_connections = %s", before)


def test_a_server_that_is_full(server: DatabaseServer, folder: Path) -> None:
    """Others hold what the proxy might have: its clients wait, as for any connection, and none sees error 1040."""
    with type(server)(max_connections=10) as own, ExitStack() as stack:
        own.create_user(ONE.name, ONE.password)
        proxy = stack.enter_context(Proxy(own, folder, accounts=[ONE], max_connections=10))
        first = stack.enter_context(proxy.connect(ONE))
        second = stack.enter_context(Packets(proxy.host, proxy.port, ONE))
        first.begin()
        one(first, "SELECT 1")
        others = []
        with refused(1040):
            while True:
                others.append(connect(own.host, own.port, ONE))
        second.send(b"\x03SELECT 5")
        line = proxy.wait_for_log(failure)
        assert "1040" in line["reason"]
        for other in others:
            other.close()
        assert second.reply()[-2] == b"\x015"


def test_the_init_query(server: DatabaseServer, folder: Path, table: str) -> None:
    """It runs on each new connection, before any client; what it sets is what sessions begin with."""
    settings = {
        "init_query": f"SET SESSION wait_timeout = 1234, sql_mode = 'ANSI'; "
        f"INSERT INTO app.{table} (value) VALUES (CONNECTION_ID())"
    }
    asked = "SELECT @@wait_timeout, @@sql_mode LIKE '%ANSI%', " + BACKEND_ID
    with Proxy(server, folder, accounts=[ONE], proxy=settings) as proxy, ExitStack() as stack:
        seen = set()
        sessions = [stack.enter_context(proxy.connect(ONE)) for _ in range(4)]
        for session in sessions:
            session.begin()
            ((timeout, ansi, number),) = rows(session, asked)
            assert (timeout, ansi) == (1234, 1)
            seen.add(number)
        assert len(seen) == 4
        for session in sessions:
            session.commit()
        run(sessions[0], "SET SESSION wait_timeout = 4321")
        for session in sessions:
            assert one(session, "SELECT @@wait_timeout") == (4321 if session is sessions[0] else 1234)
        assert {number for (number,) in rows(sessions[0], f"SELECT value FROM {table}")} == seen


@on_mariadb
def test_an_init_query_that_fails(server: DatabaseServer, folder: Path) -> None:
    """No connection is used without it; the log says so, without the query."""
    settings = {"init_query": "SELECT secret FROM nowhere.nothing", **IMPATIENT}
    with Proxy(server, folder, accounts=[ONE], proxy=settings) as proxy:
        is_refused(proxy, "1146")
        assert not any("nothing" in str(line) for line in proxy.log)
