"""Proxies that tests share: one with some connections, one with a single connection, before each server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.proxy import NATIVE, Proxy, connect
from tests.servers import Certificates, DatabaseServer

if TYPE_CHECKING:
    from tests.integration.proxy import Connection

_numbers = count(1)


@pytest.fixture(scope="session")
def wide_proxy(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy with four connections at most."""
    with Proxy(server, tmp_path_factory.mktemp("wide"), max_connections=4, tls=certificates) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def narrow_proxy(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy with a single connection, which all sessions share one after the other."""
    with Proxy(server, tmp_path_factory.mktemp("narrow"), max_connections=1, tls=certificates) as proxy:
        yield proxy


@pytest.fixture
def proxy(wide_proxy: Proxy) -> Iterator[Proxy]:
    """A proxy with four connections at most; nothing unusual is in its log afterwards."""
    yield wide_proxy
    wide_proxy.check_log()


@pytest.fixture
def narrow(narrow_proxy: Proxy) -> Iterator[Proxy]:
    """A proxy with a single connection; nothing unusual is in its log afterwards."""
    yield narrow_proxy
    narrow_proxy.check_log()


@pytest.fixture
def direct(server: DatabaseServer) -> Iterator[Connection]:
    """A connection to the server itself, under the same account."""
    connection = connect(server.host, server.port, NATIVE, server.certificates)
    with connection:
        yield connection


@pytest.fixture
def table(server: DatabaseServer) -> Iterator[str]:
    """An empty table: id (auto_increment), value (a number), text."""
    name = f"t{next(_numbers)}"
    server.execute(
        f"CREATE TABLE app.{name} (id INT PRIMARY KEY AUTO_INCREMENT, value INT, text VARCHAR(200))"
        " CHARACTER SET utf8mb4"
    )
    yield name
    server.execute(f"DROP TABLE app.{name}")


@pytest.fixture
def schema(server: DatabaseServer) -> Iterator[str]:
    """Another schema than app."""
    name = f"s{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name}")
    yield name
    server.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test's own proxy has its files."""
    return tmp_path
