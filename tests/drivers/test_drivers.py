"""Each client sees through the proxy what it sees without it, and is pinned by what docs/compatibility.md says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pymysql
import pytest

from tests.drivers.clients import CLIENTS, PACKAGES, Client, ClientMissingError, need, python
from tests.drivers.process import Program
from tests.drivers.turns import Turns
from tests.integration.network import Forwarder, commands_in
from tests.integration.node.install import DriversMissingError
from tests.integration.proxy import Account, Proxy
from tests.servers import Certificates, DatabaseServer, make_certificates

# As the servers' own accounts are, so that each client logs in by each.
ACCOUNTS = {
    "mariadb": Account("driver", "Driver-Password-5", "MYSQL_NATIVE_PASSWORD"),
    "mysql": Account("driver", "Driver-Password-6", "MYSQL_CACHING_SHA2_PASSWORD"),
}
NOBODY = Account("nobody", "none", "MYSQL_CACHING_SHA2_PASSWORD")
PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
TABLES = ["direct_client", "tls_client", "plain_client"]
TABLE = (
    "id INT PRIMARY KEY AUTO_INCREMENT, number BIGINT, amount DECIMAL(20, 4), ratio DOUBLE, day DATE,"
    " moment DATETIME(6), text VARCHAR(200), data LONGBLOB"
)
BULK_EXECUTE = b"\xfa"
MANY = 1000  # pauses; more than any client makes
PINS = re.compile(r"The client session was pinned .*?(until its cause ends)?\. Reason: (.*)")
PASSING = "for a moment: "


def documented() -> dict[str, dict[str, str]]:
    """Give what the page says of each client: what pins it, by the kind of server."""
    table = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| Client "):
            name, _, mariadb, mysql = (cell.strip() for cell in line.strip("|").split("|"))
            table[name] = {"mariadb": mariadb, "mysql": mysql}
    return table


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(database: DatabaseServer) -> DatabaseServer:
    """Each of the servers, with an account, a table with many rows, and one for each client."""
    account = ACCOUNTS[database.kind]
    database.create_user(account.name, account.password, grants=["ALL PRIVILEGES ON *.*"])
    digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4)"
    several = ", ".join(f"{digits} t{number}" for number in range(5))
    database.execute(
        "DROP TABLE IF EXISTS app.numbers",
        "CREATE TABLE app.numbers (id INT PRIMARY KEY, text VARCHAR(150)) CHARACTER SET utf8mb4",
        "INSERT INTO app.numbers SELECT t0.d + 5 * t1.d + 25 * t2.d + 125 * t3.d + 625 * t4.d,"
        f" REPEAT('ä€😀', 50) FROM {several}",
        *(f"DROP TABLE IF EXISTS app.{name}" for name in TABLES),
        *(f"CREATE TABLE app.{name} ({TABLE}) CHARACTER SET utf8mb4" for name in TABLES),
    )
    return database


@pytest.fixture(scope="module")
def proxies(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[bool, Proxy]]:
    """A proxy with the two connections by which the turns are taken; and, True, one with two more for who is pinned."""
    proxies = {
        pinned: Proxy(
            server,
            tmp_path_factory.mktemp("proxy"),
            max_connections=4 if pinned else 2,
            tls=certificates,
            accounts=[ACCOUNTS[server.kind]],
        )
        for pinned in (False, True)
    }
    with proxies[False], proxies[True]:
        yield proxies


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_client(client: Client, server: DatabaseServer, proxies: dict[bool, Proxy], certificates: Certificates) -> None:
    """Often two at once, one of them with TLS, on two connections that they and two other sessions share."""
    if server.kind not in client.servers:
        assert documented()[client.name][server.kind] == "-"
        return
    command = command_of(client)
    server.execute(*(f"TRUNCATE app.{name}" for name in TABLES))
    expected = documented()[client.name][server.kind]
    account = ACCOUNTS[server.kind]
    proxy = proxies[not expected.startswith(("nothing", PASSING))]
    start = len(proxy.log)
    to = [(TABLES[1], certificates.ca), (TABLES[2], None)]
    with ExitStack() as stack:
        direct = stack.enter_context(Program(command, server, account, TABLES[0], server.ca_path))
        through = [
            stack.enter_context(Program(command, proxy, account, table, ca)) for table, ca in to[: client.processes]
        ]
        direct.go_on(MANY)
        with Turns(proxy, account, found_rows=client.found_rows) as turns:
            going = through
            while going := [program for program in going if program.reach_pause()]:
                turns.turn()
                for program in going:
                    program.go_on()
        direct.check_end()
        assert direct.seen
        for program in through:
            program.check_end()
            assert program.seen == direct.seen
    assert pinned(proxy, start) == expected
    proxy.check_log()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("name", ["Node mariadb", "MariaDB Connector/Python", "MariaDB Connector/J"])
def test_bulks(name: str, server: DatabaseServer, proxies: dict[bool, Proxy]) -> None:
    """Drivers that know MariaDB's COM_STMT_BULK_EXECUTE send it to the proxy as they do to the server itself."""
    (client,) = (client for client in CLIENTS if client.name == name)
    command = command_of(client)
    bulks = []
    for to in (server, proxies[False]):
        server.execute(*(f"TRUNCATE app.{name}" for name in TABLES))
        with (
            Forwarder(to.host, to.port) as between,
            Program(command, between, ACCOUNTS["mariadb"], TABLES[0], None) as program,
        ):
            program.go_on(MANY)
            program.check_end()
        bulks.append([payload[:1] for heard in between.heard for payload in commands_in(heard)].count(BULK_EXECUTE))
    assert bulks[0] == bulks[1] > 0


def command_of(client: Client) -> list[str]:
    """Give the command line of a client, or skip the test."""
    try:
        return client.command()
    except (ClientMissingError, DriversMissingError) as error:
        # On a developer's machine the rest is still worth running; in CI nothing may be left out.
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def pinned(proxy: Proxy, start: int) -> str:
    """Give what the log says of pins from line ``start`` on, as the page says it."""
    end = len(proxy.log)
    # Lines are read as they come: all are there when that of a failed login is.
    with pytest.raises(pymysql.MySQLError):
        proxy.connect(NOBODY)
    proxy.wait_for_log(lambda line: line["event"] == "login failed", after=end)
    found = [match for line in proxy.log[start:] if (match := PINS.match(line["event"]))]
    reasons = {
        (PASSING if passing else "") + reason
        for passing, several in (match.groups() for match in found)
        for reason in several.split("; ")
    }
    return "; ".join(sorted(reasons)) or "nothing"


def test_the_table_has_no_other_rows() -> None:
    assert list(documented()) == [client.name for client in CLIENTS]


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PACKAGES, "php", {"php-cli": "no-such-program", "php-mysql": str(tmp_path)})
    with pytest.raises(ClientMissingError, match=r"apt-get install php-cli\)"):
        need("php")
    with pytest.raises(ClientMissingError, match="no_such_module is missing"):
        python("dbapi", "no_such_module")()
