"""A proxy to be fed nonsense, before a real MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.clients import Place
from tests.integration.proxy import Account, Proxy
from tests.servers import MariaDB, make_certificates

FUZZ = Account("fuzz", "Fuzz-Password-3", "MYSQL_NATIVE_PASSWORD")
CONTROL = Account("control", "Control-Password-4", "MYSQL_NATIVE_PASSWORD")
CONNECTIONS = 10


@pytest.fixture(scope="session")
def database_to_fuzz(mariadb: MariaDB) -> MariaDB:
    """The shared MariaDB, with tables and accounts."""
    for account in (FUZZ, CONTROL):
        mariadb.create_user(account.name, account.password)
    mariadb.execute(
        "CREATE OR REPLACE TABLE app.fuzz (a INT PRIMARY KEY, b TEXT)",
        "INSERT INTO app.fuzz SELECT seq, REPEAT('b', seq) FROM mysql.seq_1_to_300",
        "CREATE OR REPLACE TABLE app.fuzz_in (id INT AUTO_INCREMENT PRIMARY KEY, b TEXT)",
        "CREATE OR REPLACE TABLE app.control (a INT PRIMARY KEY)",
    )
    return mariadb


@pytest.fixture
def fuzzed_proxy(database_to_fuzz: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with few connections. Its log is looked at in the end."""
    tls = make_certificates(tmp_path_factory.mktemp("tls"))
    folder = tmp_path_factory.mktemp("fuzzed")
    with Proxy(
        database_to_fuzz,
        folder,
        max_connections=CONNECTIONS,
        tls=tls,
        accounts=(FUZZ, CONTROL),
        target_group={"connection_borrow_timeout": 60},
    ) as proxy:
        yield proxy


@pytest.fixture
def place(fuzzed_proxy: Proxy) -> Place:
    """Where to send nonsense."""
    return Place(fuzzed_proxy.host, fuzzed_proxy.port, FUZZ.name, FUZZ.password)
